"""Records in quarantine as ClickHouse holds them."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from warehouse import named_queries as reads
from warehouse.client import Warehouse

STATES: Final = ("open", "replayed", "discarded")
PAGE: Final = 500
_RAW: Final = 10
"""Where `quarantine_show` has the bytes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are meant; what is empty does not narrow them. `limit` bounds how many."""

    ids: tuple[str, ...] = ()
    reason: str = ""
    stage: str = ""
    source: str = ""
    state: str = "open"
    since_ms: int = 0
    limit: int = 50
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. `state` is open, replayed or discarded; `by` and `because` say who settled it and why."""

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


async def listed(warehouse: Warehouse, wanted: Wanted) -> list[Entry]:
    """The records, newest first, without their bytes. Raises Transient."""
    rows = await reads.ask(
        warehouse, "quarantine_list", ids=list(wanted.ids), reason=wanted.reason, stage=wanted.stage, source=wanted.source,
        state=wanted.state, since_ms=wanted.since_ms, limit=wanted.limit, skip=wanted.skip,
    )  # fmt: skip
    return [Entry(*row) for row in rows]


def shown(entry: Entry) -> dict[str, Any]:
    """All but the bytes, for JSON."""
    return {name: value for name, value in asdict(entry).items() if name != "raw"}


async def whole(warehouse: Warehouse, ids: Sequence[str]) -> list[Entry]:
    """These records with their bytes, in the order of the ids; those that do not exist are left out. Raises Transient."""
    found: dict[str, Entry] = {}
    for start in range(0, len(ids), PAGE):
        rows = await reads.ask(warehouse, "quarantine_show", ids=list(ids[start : start + PAGE]))
        found |= {entry.id: entry for entry in map(_entry, rows)}
    return [found[name] for name in ids if name in found]


def _entry(row: Sequence[Any]) -> Entry:
    return replace(Entry(*row[:_RAW], *row[_RAW + 1 :]), raw=base64.b64decode(row[_RAW]))
