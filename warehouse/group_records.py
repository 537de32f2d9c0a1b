"""What ClickHouse was told of groups, as the records that said it: enough to make the documents of a lost store anew."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import msgspec

from warehouse import named_queries as reads
from warehouse.client import Warehouse
from schemas.records import Grouped

_JSON: Final = msgspec.json.Decoder()
Register = tuple[Any, int, str]


async def records(warehouse: Warehouse) -> AsyncIterator[Grouped]:
    """All of them, joined: one per trait of an account, one per profile and group. Raises Transient."""
    for group_id, name, trait, time_ms, message, value in await reads.ask(warehouse, "account_traits"):
        yield Grouped(group_id=group_id, kind="account", name=name, traits={trait: (_JSON.decode(value), time_ms, message)})
    async for block in reads.stream(warehouse, "contributions"):
        for row in block:
            yield of_row(row)


def of_row(row: Iterable[Any]) -> Grouped:
    """The record of a row of the named read `contributions`."""
    group_id, profile_id, kind, name, present, seq, rank, most, traits, counters, at_ms = row
    return Grouped(
        group_id=group_id, kind=kind, name=name, profile_id=profile_id, present=bool(present), seq=seq, rank=rank, most=most,
        traits={trait: (_JSON.decode(value), time_ms, message) for trait, (time_ms, message, value) in traits.items()},
        counters=dict(counters), at_ms=at_ms,
    )  # fmt: skip
