"""Reads the records of the topic `groups` back from ClickHouse, which is enough to rebuild the group documents of a lost store."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import msgspec

from schemas.records import GroupRecord, TraitValue
from warehouse import named_queries
from warehouse.client import Warehouse

_JSON: Final = msgspec.json.Decoder()


async def stream_group_records(warehouse: Warehouse) -> AsyncIterator[GroupRecord]:
    """Yield joined records: one for each trait of an account, one for each profile in a group. Raises Transient."""
    for group_id, name, trait, *register in await named_queries.fetch_rows(warehouse, "account_traits"):
        yield GroupRecord(group_id=group_id, kind="account", name=name, traits={trait: _trait_value(*register)})
    async for block in named_queries.stream_rows(warehouse, "contributions"):
        for row in block:
            yield record_of_contribution_row(row)


def record_of_contribution_row(row: Iterable[Any]) -> GroupRecord:
    """Return the record for a row of the named query `contributions`."""
    group_id, profile_id, kind, name, present, seq, rank, max_members, registers, counters, at_ms = row
    return GroupRecord(
        group_id=group_id,
        kind=kind,
        name=name,
        profile_id=profile_id,
        present=bool(present),
        seq=seq,
        rank=rank,
        max_members=max_members,
        traits={trait: _trait_value(*register) for trait, register in registers.items()},
        counters=dict(counters),
        at_ms=at_ms,
    )


def _trait_value(trusted: int, time_ms: int, message: str, value: str) -> TraitValue:
    return TraitValue(_JSON.decode(value), time_ms, message, bool(trusted))
