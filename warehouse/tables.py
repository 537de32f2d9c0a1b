"""The tables that are inserted into: columns with their types, the key that rows replace each other by, and what wins. Pure."""

from dataclasses import dataclass
from typing import Final

_TEXT: Final = "String"
_WORD: Final = "LowCardinality(String)"
_TIME: Final = "DateTime64(3, 'UTC')"
_PAIRS: Final = "Array(Tuple(namespace String, value String))"
_REGISTER: Final = "Tuple(Int64, String, String)"
_VIOLATIONS: Final = "Array(Tuple(path String, rule String, kind String))"
_OP: Final = "Enum8('entered' = 1, 'exited' = 2)"


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its ClickHouse type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with equal `key` replace each other: the largest `version` stays, or the smallest with `first_wins`; else the last.

    Of a table with `smallest` they join: each of those columns, which are all but the key, keeps its smallest value.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version: str | None = None
    first_wins: bool = False
    smallest: tuple[str, ...] = ()

    def index(self, column: str) -> int:
        """Where a column stands in a row."""
        return next(place for place, held in enumerate(self.columns) if held.name == column)


def _columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in types.items())


EVENT_STORE: Final = Table(
    "event_store",
    _columns(
        owner=_TEXT, id=_TEXT, type=_WORD, name=_WORD, source=_WORD, time=_TIME, received=_TIME, nodes="Array(String)",
        identifiers=_PAIRS, properties=_TEXT, traits=_TEXT, context=_TEXT, flags=f"Array({_WORD})", violations=_VIOLATIONS,
        observed=_VIOLATIONS, partition="UInt32", offset="UInt64",
    ),
    key=("owner", "id"),
    version="offset",
    first_wins=True,
)  # fmt: skip
LEDGER: Final = Table(
    "ledger",
    _columns(
        partition="UInt32", offset="UInt64", owner=_TEXT, id_hash=_TEXT,
        outcome="Enum8('stored' = 1, 'suppressed' = 2, 'quarantined' = 3)", reason=_WORD,
        source=_WORD, event=_WORD, received=_TIME,
    ),
    key=("partition", "offset"),
)  # fmt: skip
POSITIONS: Final = Table(
    "positions",
    _columns(topic=_WORD, partition="UInt32", next_offset="UInt64"),
    key=("topic", "partition"),
    version="next_offset",
)
LABELS: Final = Table("labels", _columns(node=_TEXT, profile_id=_TEXT, version="UInt64"), key=("node",), version="version")
EVIDENCE: Final = Table(
    "evidence_store",
    _columns(
        a=_TEXT, b=_TEXT, first="Tuple(Int64, String, String, String, String, String)", last="Tuple(Int64, Int64, String)"
    ),
    key=("a", "b"),
    smallest=("first", "last"),
)  # fmt: skip
DECISIONS: Final = Table(
    "decision_store",
    _columns(
        operation=_TEXT, action=_WORD, kind=_WORD, a=_TEXT, b=_TEXT, on="Bool", at_ms="Int64", of=_TEXT, by=_TEXT, reason=_TEXT
    ),
    key=("operation", "kind", "a", "b", "at_ms", "on"),
)  # fmt: skip
IDENTITIES: Final = Table(
    "identity_store",
    _columns(
        profile_id=_TEXT, version="UInt64", members="Array(String)", merged_into=_TEXT, split_from=_TEXT, cause=_TEXT, at=_TIME
    ),
    key=("profile_id", "version"),
)  # fmt: skip
PROFILES: Final = Table(
    "profile_store",
    _columns(
        profile_id=_TEXT, members="Array(String)", label_version="UInt64", merged_into=_TEXT, split_from=_TEXT,
        identifiers=_PAIRS, traits=_TEXT, computed=_TEXT, counters="Map(String, UInt64)", first_seen=_TIME, last_seen=_TIME,
        segments=f"Array({_WORD})", updated=_TIME, version="UInt64",
    ),
    key=("profile_id",),
    version="version",
)  # fmt: skip
TRANSITIONS: Final = Table(
    "transitions",
    _columns(
        profile_id=_TEXT, segment=_WORD, seq="UInt64", segment_version=_WORD, op=_OP, at=_TIME, evaluated_at=_TIME, cause=_WORD,
        event_id=_TEXT,
    ),
    key=("profile_id", "segment", "seq"),
)  # fmt: skip
ACCOUNT_TRAITS: Final = Table(
    "account_trait_store",
    _columns(group_id=_TEXT, name=_TEXT, trait=_TEXT, register=_REGISTER),
    key=("group_id", "name", "trait", "register"),
)
CONTRIBUTIONS: Final = Table(
    "contribution_store",
    _columns(
        group_id=_TEXT, profile_id=_TEXT, kind="Enum8('account' = 1, 'household' = 2)", name=_TEXT, present="Bool", seq="UInt64",
        rank="UInt32", most="UInt32", traits=f"Map(String, {_REGISTER})", counters="Map(String, UInt64)", at=_TIME,
    ),
    key=("group_id", "profile_id"),
    version="seq",
)  # fmt: skip
DELIVERIES: Final = Table(
    "deliveries",
    _columns(
        key=_TEXT, state="Enum8('delivered' = 1, 'failed' = 2, 'skipped' = 3)", attempts="UInt32", destination=_WORD,
        profile_id=_TEXT, segment=_WORD, op=_OP, seq="UInt64", verdict=_WORD, status="UInt16", detail=_TEXT, transition=_TIME,
        at=_TIME,
    ),
    key=("key", "state", "attempts"),
)  # fmt: skip
QUARANTINE: Final = Table(
    "quarantine",
    _columns(
        id=_TEXT, stage=_WORD, reason=_WORD, detail=_TEXT, source=_WORD, topic=_WORD, partition="Int32", offset="Int64", raw=_TEXT,
        at=_TIME, counted="Bool",
    ),
    key=("id",),
)  # fmt: skip

SETTLEMENTS: Final = Table(
    "settlements",
    _columns(id=_TEXT, action="Enum8('replayed' = 1, 'discarded' = 2)", by=_TEXT, because=_TEXT, at=_TIME),
    key=("id", "at", "action"),
)

TABLES: Final = (
    EVENT_STORE, LEDGER, POSITIONS, LABELS, EVIDENCE, DECISIONS, IDENTITIES, PROFILES, TRANSITIONS,
    ACCOUNT_TRAITS, CONTRIBUTIONS, DELIVERIES, QUARANTINE, SETTLEMENTS,
)  # fmt: skip
