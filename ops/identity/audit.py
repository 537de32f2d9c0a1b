"""What ClickHouse remembers of events and operations. Explaining does without it when it is away; taking back does not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.identity.clusters import Evidence
from domain.identity.model import Edge, Pair
from ops.identity.references import format_instant
from runtime.errors import OnefoldError
from schemas.records import DecisionAction, DecisionKind
from warehouse import named_queries
from warehouse.client import Warehouse

MAX_EVENTS: Final = 200
"""More events than this are told by their ids alone."""
MAX_OWNERS: Final = 8
WAREHOUSE_TIMEOUT_S: Final = 15.0
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
class IdentityOperation:
    """What one operation decided, and who said so."""

    name: str
    action: DecisionAction
    pairs: tuple[tuple[DecisionKind, str, str], ...]
    on: bool
    at_ms: int
    of: str
    by: str
    reason: str


@dataclass(slots=True)
class EvidenceAudit:
    """What was found for one answer. `complete` is false when ClickHouse was away."""

    events: dict[tuple[Pair, str], EventFacts]
    operations: dict[str, IdentityOperation]
    complete: bool = True


class IdentityHistory:
    """Asks ClickHouse; `connect` may raise."""

    def __init__(self, connect: Callable[[], Awaitable[Warehouse]]) -> None:
        self._connect = connect

    async def load_audit(self, evidence: Evidence, pairs: Iterable[Pair], operations: Iterable[str]) -> EvidenceAudit:
        """The events behind these pairs' evidence, and these operations, as far as they are known. Does not raise."""
        audit = EvidenceAudit({}, {})
        try:
            async with asyncio.timeout(WAREHOUSE_TIMEOUT_S):
                await self._fill(audit, evidence, pairs, operations)
        except (OnefoldError, TimeoutError):
            audit.complete = False
        return audit

    async def _fill(self, audit: EvidenceAudit, evidence: Evidence, pairs: Iterable[Pair], operations: Iterable[str]) -> None:
        warehouse = await self._connect()
        for name in operations:
            if (operation := await _read_operation(warehouse, name)) is not None:
                audit.operations[name] = operation
        requested_events = [(key, event) for key in pairs for event in dict.fromkeys(_first_and_last_event(evidence.edges[key]))]
        for key, event in requested_events[:MAX_EVENTS]:
            if (facts := await _find_event(warehouse, event, key, _owners(evidence, key))) is not None:
                audit.events[key, event] = facts

    async def operation(self, name: str) -> IdentityOperation | None:
        """What an operation decided; None when it is not known (yet). Raises Transient when ClickHouse is away."""
        return await _read_operation(await self._connect(), name)

    async def operations(self, limit: int) -> list[dict[str, Any]]:
        """The latest operations, the newest first."""
        rows = await named_queries.fetch_rows(await self._connect(), "operations", limit=limit)
        entries = [dict(zip(OPERATION_FIELDS, row, strict=True)) for row in rows]
        return [{"at": format_instant(entry.pop("at_ms")), **entry, "on": bool(entry["on"])} for entry in entries]


def _first_and_last_event(edge: Edge) -> tuple[str, str]:
    return edge.first_event, edge.last_event


def _owners(evidence: Evidence, key: Pair) -> list[str]:
    """Whose event may have been evidence for a pair: the known owner, the two themselves, others seen with the stronger one."""
    others = (a if b == key[0] else b for a, b in evidence.edges if key[0] in (a, b))
    return list(dict.fromkeys([evidence.edges[key].owner, *key, *others]))[: MAX_OWNERS + 1]


async def _find_event(warehouse: Warehouse, event: str, key: Pair, owners: Iterable[str]) -> EventFacts | None:
    for owner in owners:
        for *facts, nodes in await named_queries.fetch_rows(warehouse, "event", owner=owner, id=event):
            if set(key) <= set(nodes):
                return EventFacts(*facts)
    return None


async def _read_operation(warehouse: Warehouse, name: str) -> IdentityOperation | None:
    rows = await named_queries.fetch_rows(warehouse, "operation", operation=name)
    if not rows:
        return None
    action, _, _, _, on, at_ms, of, by, reason = rows[0]
    return IdentityOperation(name, action, tuple((row[1], row[2], row[3]) for row in rows), bool(on), at_ms, of, by, reason)


def event_to_json(event: str, facts: EventFacts | None) -> Mapping[str, Any]:
    """An event as JSON; its id alone when nothing else is known."""
    if facts is None:
        return {"id": event}
    return {
        "id": event,
        "type": facts.type,
        "name": facts.name,
        "source": facts.source,
        "time": format_instant(facts.time_ms),
        "received": format_instant(facts.received_ms),
    }
