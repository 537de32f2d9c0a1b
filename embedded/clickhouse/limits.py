"""What one user may take: places for queries and sessions, and the settings beyond which no query of a reader goes."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from embedded.clickhouse.protocol import CARRIER_SETTING, QueryRefused
from embedded.clickhouse.setting_clauses import SettingChange

UserRole = Literal["app", "analyst"]

READER_MODE = "2"
"""The value of `readonly` on every connection of a reader: it reads, and may change other settings."""
READER_SECONDS = 600
"""How long one query of a reader may run."""
READER_SPILL_BYTES = 8 << 30
"""How much one query of a reader may put on the disk, to sort or to group more than its memory holds."""
READER_RESULT_BYTES = 128 << 20
"""How large a result of a reader may be in a format that cannot be streamed, so that all of it is in memory at once."""

# What would take a reader out of its bounds, its name or its mode, or keep a thread busy where no KILL reaches it.
_CLOSED_TO_READERS = frozenset({
    CARRIER_SETTING, "profile", "allow_ddl", "memory_overcommit_ratio_denominator",
    "memory_overcommit_ratio_denominator_for_user", "memory_usage_overcommit_max_wait_microseconds", "max_untracked_memory",
    "use_concurrency_control", "function_sleep_max_microseconds_per_block", "max_parser_depth", "max_parser_backtracks",
    "max_ast_depth", "max_ast_elements", "max_expanded_ast_elements", "max_subquery_depth",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The limits of one user.

    So many `queries` run at a time on so many `threads` of the endpoint; so many more wait for `wait_s`. `bounds` are the largest
    values of settings, with which each connection begins; a user without bounds sets what it likes.
    """

    queries: int
    waiting: int
    wait_s: float
    sessions: int
    threads: int
    bounds: Mapping[str, int] = field(default_factory=dict)

    @property
    def scarce_memory_bytes(self) -> int | None:
        """How much memory the engine may have in use while a result of this user grows in it; None for a user without bounds."""
        # As much as one query may have: a result that outgrows its buffer is copied, and takes three times as much meanwhile.
        return self.bounds.get("max_memory_usage")

    @property
    def first_settings(self) -> dict[str, str]:
        """The settings with which a connection of this user begins."""
        if not self.bounds:
            return {}
        # When the engine as a whole is short of memory, it ends the query that is furthest above this share: a reader's.
        return {name: str(value) for name, value in self.bounds.items()} | {"memory_overcommit_ratio_denominator": "1"}

    def check_settings(self, changes: Iterable[SettingChange]) -> None:
        """Refuse changes of settings beyond the bounds.

        Raises:
            QueryRefused: 452 and 164, as a server answers whose settings profile has these constraints.
        """
        if not self.bounds:
            return
        for name, value in changes:
            if name == "readonly" and value == READER_MODE:  # what it is already: many tools ask for it
                continue
            if name == "readonly":
                raise QueryRefused(164, "Cannot modify 'readonly' setting in readonly mode.", "READONLY")
            if name in _CLOSED_TO_READERS:
                raise QueryRefused(452, f"Setting {name} should not be changed", "SETTING_CONSTRAINT_VIOLATION")
            largest = self.bounds.get(name)
            if largest is None:
                continue
            if value is None or not _is_number(value) or not 1 <= int(value) <= largest:
                raise QueryRefused(452, f"Setting {name} must be a number from 1 to {largest}", "SETTING_CONSTRAINT_VIOLATION")


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def limits_of(role: UserRole, memory_bytes: int, processors: int) -> UserLimits:
    """Return the limits of a user of this role, of an engine that may use `memory_bytes` and so many processors."""
    if role == "app":
        return UserLimits(queries=64, waiting=1024, wait_s=60, sessions=256, threads=16)
    threads = max(1, processors // 2)
    bounds = {
        "max_execution_time": READER_SECONDS,
        "max_memory_usage": memory_bytes // 3,
        "max_threads": threads,
        "max_final_threads": threads,
        "max_temporary_data_on_disk_size_for_query": READER_SPILL_BYTES,
    }
    queries = min(8, max(4, processors))
    return UserLimits(queries=queries, waiting=64, wait_s=10, sessions=64, threads=queries + 1, bounds=bounds)
