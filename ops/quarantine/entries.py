"""Records in quarantine, read from ClickHouse."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from runtime.errors import Invalid
from warehouse import named_queries
from warehouse.client import Warehouse

STATES: Final = ("open", "replayed", "discarded")
PAGE: Final = 500
_RAW_COLUMN: Final = 10
"""The index of the column of `quarantine_show` that has the bytes."""


@dataclass(frozen=True, slots=True)
class QuarantineQuery:
    """Which records to read; an empty field does not narrow them. `limit` bounds how many, after the first `skip`."""

    ids: tuple[str, ...] = ()
    reason: str = ""
    stage: str = ""
    source: str = ""
    state: str = "open"
    since_ms: int = 0
    limit: int = 50
    skip: int = 0


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One record. `state` is open, replayed or discarded; `by` and `because` say who changed the state and why."""

    id: str
    stage: str
    reason: str
    detail: str
    source: str
    topic: str
    partition: int
    offset: int
    at_ms: int
    counted: bool
    state: str
    by: str
    because: str
    raw: bytes = field(default=b"", repr=False)


def require_state(state: str) -> None:
    """Raise Invalid for a state that a query cannot ask for: it is one of STATES, or `all`."""
    if state not in (*STATES, "all"):
        raise Invalid(f"state is one of {', '.join(STATES)}, all", path="state", reason="malformed")


async def list_entries(warehouse: Warehouse, query: QuarantineQuery) -> list[QuarantineEntry]:
    """Read the records of a query, newest first, without their bytes. Raises Transient."""
    rows = await named_queries.fetch_rows(
        warehouse, "quarantine_list", ids=list(query.ids), reason=query.reason, stage=query.stage, source=query.source,
        state=query.state, since_ms=query.since_ms, limit=query.limit, skip=query.skip,
    )  # fmt: skip
    return [QuarantineEntry(*row) for row in rows]


def entry_to_json(entry: QuarantineEntry) -> dict[str, Any]:
    """Return all fields but the bytes, for JSON."""
    return {name: value for name, value in asdict(entry).items() if name != "raw"}


async def read_entries(warehouse: Warehouse, ids: Sequence[str]) -> list[QuarantineEntry]:
    """Read records with their bytes, in the order of the ids; ids that do not exist are left out. Raises Transient."""
    by_id: dict[str, QuarantineEntry] = {}
    for start in range(0, len(ids), PAGE):
        rows = await named_queries.fetch_rows(warehouse, "quarantine_show", ids=list(ids[start : start + PAGE]))
        by_id |= {entry.id: entry for entry in map(_entry_from_row, rows)}
    return [by_id[name] for name in ids if name in by_id]


def _entry_from_row(row: Sequence[Any]) -> QuarantineEntry:
    return replace(QuarantineEntry(*row[:_RAW_COLUMN], *row[_RAW_COLUMN + 1 :]), raw=base64.b64decode(row[_RAW_COLUMN]))
