"""What ClickHouse remembers of events and operations. Explaining does without it when it is away; taking back does not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.identity.references import moment
from domain.identity.clusters import Evidence, Pair
from profile_store.port import Edge
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.errors import OnefoldError
from schemas.records import DecidedAction, DecidedKind

MAX_EVENTS: Final = 200
"""More events than this are told by their ids alone."""
MAX_OWNERS: Final = 8
TELLING_S: Final = 15.0
"""Longer than this no answer waits for ClickHouse."""
OPERATION_FIELDS: Final = ("operation", "action", "on", "at_ms", "of", "by", "reason", "pairs")


@dataclass(frozen=True, slots=True)
class EventFacts:
    """What is told of an event."""

    type: str
    name: str
    source: str
    time_ms: int
    received_ms: int


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation decided, and who said so."""

    name: str
    action: DecidedAction
    pairs: tuple[tuple[DecidedKind, str, str], ...]
    on: bool
    at_ms: int
    of: str
    by: str
    reason: str


@dataclass(slots=True)
class Told:
    """What was found for one answer. `complete` is false when ClickHouse was away."""

    events: dict[tuple[Pair, str], EventFacts]
    operations: dict[str, Operation]
    complete: bool = True


class History:
    """Asks ClickHouse; `connect` may raise."""

    def __init__(self, connect: Callable[[], Awaitable[Warehouse]]) -> None:
        self._connect = connect

    async def tell(self, evidence: Evidence, pairs: Iterable[Pair], operations: Iterable[str]) -> Told:
        """The events behind these pairs' evidence, and these operations, as far as they are known. Does not raise."""
        told = Told({}, {})
        try:
            async with asyncio.timeout(TELLING_S):
                await self._fill(told, evidence, pairs, operations)
        except (OnefoldError, TimeoutError):
            told.complete = False
        return told

    async def _fill(self, told: Told, evidence: Evidence, pairs: Iterable[Pair], operations: Iterable[str]) -> None:
        warehouse = await self._connect()
        for name in operations:
            if (operation := await _operation(warehouse, name)) is not None:
                told.operations[name] = operation
        wanted = [(key, event) for key in pairs for event in dict.fromkeys(_events(evidence.edges[key]))]
        for key, event in wanted[:MAX_EVENTS]:
            if (facts := await _event(warehouse, event, key, _owners(evidence, key))) is not None:
                told.events[key, event] = facts

    async def operation(self, name: str) -> Operation | None:
        """What an operation decided; None when it is not known (yet). Raises Transient when ClickHouse is away."""
        return await _operation(await self._connect(), name)

    async def operations(self, limit: int) -> list[dict[str, Any]]:
        """The latest operations, the newest first."""
        rows = await reads.ask(await self._connect(), "operations", limit=limit)
        found = [dict(zip(OPERATION_FIELDS, row, strict=True)) for row in rows]
        return [{"at": moment(entry.pop("at_ms")), **entry, "on": bool(entry["on"])} for entry in found]


def _events(edge: Edge) -> tuple[str, str]:
    return edge.first_event, edge.last_event


def _owners(evidence: Evidence, key: Pair) -> list[str]:
    """Whose event may have been evidence for a pair: the known owner, the two themselves, others seen with the stronger one."""
    others = (a if b == key[0] else b for a, b in evidence.edges if key[0] in (a, b))
    return list(dict.fromkeys([evidence.edges[key].owner, *key, *others]))[: MAX_OWNERS + 1]


async def _event(warehouse: Warehouse, event: str, key: Pair, owners: Iterable[str]) -> EventFacts | None:
    for owner in owners:
        for *facts, nodes in await reads.ask(warehouse, "event", owner=owner, id=event):
            if set(key) <= set(nodes):
                return EventFacts(*facts)
    return None


async def _operation(warehouse: Warehouse, name: str) -> Operation | None:
    rows = await reads.ask(warehouse, "operation", operation=name)
    if not rows:
        return None
    action, _, _, _, on, at_ms, of, by, reason = rows[0]
    return Operation(name, action, tuple((row[1], row[2], row[3]) for row in rows), bool(on), at_ms, of, by, reason)


def shape_event(event: str, facts: EventFacts | None) -> Mapping[str, Any]:
    """An event as JSON; its id alone when nothing else is known."""
    if facts is None:
        return {"id": event}
    return {
        "id": event,
        "type": facts.type,
        "name": facts.name,
        "source": facts.source,
        "time": moment(facts.time_ms),
        "received": moment(facts.received_ms),
    }
