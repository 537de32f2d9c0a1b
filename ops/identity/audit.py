"""The audit of identity in ClickHouse: events behind evidence, and operations. An explanation can do without it; an undo cannot."""

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
"""The largest number of events that are read for one answer. Further events have their ids alone."""
MAX_OWNERS: Final = 8
WAREHOUSE_TIMEOUT_S: Final = 15.0
"""The longest time that an answer waits for ClickHouse."""
OPERATION_FIELDS: Final = ("operation", "action", "on", "at_ms", "of", "by", "reason", "pairs")


@dataclass(frozen=True, slots=True)
class EventFacts:
    """The fields of an event that answers show."""

    type: str
    name: str
    source: str
    time_ms: int
    received_ms: int


@dataclass(frozen=True, slots=True)
class IdentityOperation:
    """One operation: what it decided about which pairs, who decided it, and why."""

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
    """The events and operations behind one answer. `complete` is false when ClickHouse did not answer in time."""

    events: dict[tuple[Pair, str], EventFacts]
    operations: dict[str, IdentityOperation]
    complete: bool = True


class IdentityHistory:
    """Reads the audit; `connect` may raise when ClickHouse does not answer."""

    def __init__(self, connect: Callable[[], Awaitable[Warehouse]]) -> None:
        self._connect = connect

    async def load_audit(self, evidence: Evidence, pairs: Iterable[Pair], operations: Iterable[str]) -> EvidenceAudit:
        """Read the events behind the evidence of these pairs, and these operations, as far as ClickHouse has them.

        Never raises.
        """
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
        """Read what an operation decided; None when ClickHouse does not have it (yet). Raises Transient."""
        return await _read_operation(await self._connect(), name)

    async def operations(self, limit: int) -> list[dict[str, Any]]:
        """Read the latest operations, the newest first. Raises Transient."""
        rows = await named_queries.fetch_rows(await self._connect(), "operations", limit=limit)
        entries = [dict(zip(OPERATION_FIELDS, row, strict=True)) for row in rows]
        return [{"at": format_instant(entry.pop("at_ms")), **entry, "on": bool(entry["on"])} for entry in entries]


def _first_and_last_event(edge: Edge) -> tuple[str, str]:
    return edge.first_event, edge.last_event


def _owners(evidence: Evidence, key: Pair) -> list[str]:
    """Return the owners whose event may be the evidence of a pair: the recorded one, the nodes, and their neighbours."""
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
    return IdentityOperation(
        name=name,
        action=action,
        pairs=tuple((row[1], row[2], row[3]) for row in rows),
        on=bool(on),
        at_ms=at_ms,
        of=of,
        by=by,
        reason=reason,
    )


def event_to_json(event: str, facts: EventFacts | None) -> Mapping[str, Any]:
    """Return an event as JSON; its id alone when nothing else is known."""
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
