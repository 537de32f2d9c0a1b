"""Records in quarantine, read from ClickHouse."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final

from runtime.errors import Invalid
from schemas.quarantine import STAGES
from schemas.reasons import Reason
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


def check_filters(query: QuarantineQuery) -> None:
    """Raise Invalid for a state, reason or stage that no record has. An empty reason or stage does not narrow."""
    _require_word("state", query.state, (*STATES, "all"))
    _require_word("reason", query.reason, ("", *Reason))
    _require_word("stage", query.stage, ("", *STAGES))


def _require_word(name: str, word: str, allowed: Sequence[str]) -> None:
    if word in allowed:
        return
    nearest = get_close_matches(word[:60], allowed, 1)
    cure = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(filter(None, allowed))}"
    raise Invalid(f"{name}: no record has this {name}: {cure}", path=name, reason="malformed")


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
