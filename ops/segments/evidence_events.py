"""The events behind a condition: a register's entries have the instants, and ClickHouse has the events."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from domain.segments.explain import ExplainedNode
from domain.segments.leaves.leaf import NodeEvidence
from domain.segments.registers import Entry, Register, amount_to_number
from ops.identity.references import format_instant
from ops.segments.profile_snapshot import ProfileSnapshot
from runtime.errors import OnefoldError
from schemas.events import Event
from schemas.hashes import message_hash
from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.rows import event_from_row

MAX_SHOWN: Final = 10
"""How many events of one leaf are shown: the latest ones."""
MAX_READ: Final = 1_000
"""How many events are read to find those, if the register does not have their instants."""
MAX_LOOKUPS: Final = 100
WAREHOUSE_TIMEOUT_S: Final = 20.0
"""The longest time that an answer waits for ClickHouse."""
NO_END_MS: Final = 1 << 52
TIMED_FORMS: Final = ("newest", "oldest", "newest_of_each")
"""Registers whose entries have the instants of their events."""

EventsJson = list[dict[str, Any]]


@dataclass(slots=True)
class EventEvidence:
    """The events behind the conditions of one explanation, and the last transition.

    `events` are by the identity (`id()`) of a `NodeEvidence`. `complete` is false when ClickHouse did not answer for all of
    them.
    """

    events: dict[int, EventsJson] = field(default_factory=dict)
    transition: dict[str, Any] | None = None
    complete: bool = True


async def load_event_evidence(
    connect: Callable[[], Awaitable[Warehouse]], snapshot: ProfileSnapshot, segment: str, tree: ExplainedNode
) -> EventEvidence:
    """Read the events of a tree's entries and the last transition. Never raises: without ClickHouse only instants are shown."""
    evidence = EventEvidence()
    requested = [behind for node in tree.walk() for behind in node.evidence]
    evidence.complete = len(requested) <= MAX_LOOKUPS
    try:
        async with asyncio.timeout(WAREHOUSE_TIMEOUT_S):
            warehouse = await connect()
            evidence.transition = await _last_transition(warehouse, snapshot, segment)
            for behind in requested[:MAX_LOOKUPS]:
                evidence.events[id(behind)] = await _events(warehouse, snapshot, behind)
    except (OnefoldError, TimeoutError):
        evidence.complete = False
    for behind in requested:
        evidence.events.setdefault(id(behind), _times_only(behind.register, _shown_entries(behind, snapshot)))
    return evidence


async def _last_transition(warehouse: Warehouse, snapshot: ProfileSnapshot, segment: str) -> dict[str, Any] | None:
    rows = await named_queries.fetch_rows(warehouse, "last_transition", profile_id=snapshot.profile_id, segment=segment)
    if not rows:
        return None
    op, at_ms, evaluated_ms, cause, event_id, seq, version = rows[0]
    transition = {
        "op": op,
        "at": format_instant(at_ms),
        "evaluated": format_instant(evaluated_ms),
        "cause": cause,
        "seq": seq,
        "version": version,
    }
    if not event_id:
        return {**transition, "event": None}
    events = await named_queries.fetch_rows(warehouse, "event_of_owners", owners=list(snapshot.members), id=event_id)
    return {**transition, "event": {"id": event_id, **(_event_to_json(*events[0]) if events else {})}}


def _event_to_json(kind: str, name: str, source: str, time_ms: int, received_ms: int) -> dict[str, Any]:
    return {"type": kind, "name": name, "source": source, "time": format_instant(time_ms), "received": format_instant(received_ms)}


async def _events(warehouse: Warehouse, snapshot: ProfileSnapshot, behind: NodeEvidence) -> EventsJson:
    register, entries = behind.register, _shown_entries(behind, snapshot)
    if register is None:
        return await _trait_events(warehouse, snapshot, entries)
    window = _window(register, entries)
    if behind.entries is not None and not entries:
        return []
    events = await _read_events(warehouse, snapshot, register.event, window)
    if behind.entries is None:
        matching = [(event, entry) for event in events if (entry := register.entry(event, _event_hash(event))) is not None]
        return [_event_with_value(event, register, entry) for event, entry in matching[:MAX_SHOWN]]
    unmatched: dict[tuple[int, str], Entry] = {entry[:2]: entry for entry in entries}
    shown: EventsJson = []
    periods = register.form == "periods"
    for event in events:
        entry = register.entry(event, _event_hash(event))
        if entry is not None and entry[:2] in unmatched and len(shown) < MAX_SHOWN:
            shown.append(_event_with_value(event, register, entry))
            if not periods:
                del unmatched[entry[:2]]
    return [*shown, *_times_only(register, unmatched.values())]


def _shown_entries(behind: NodeEvidence, snapshot: ProfileSnapshot) -> Sequence[Entry]:
    """Return the entries that are shown: the latest of a register, or that of the event that set a trait."""
    if behind.register is not None:
        return (behind.entries or ())[:MAX_SHOWN]
    registers = snapshot.joined.trait_values
    trait = registers.get(behind.trait) or registers.get(behind.trait.split(".")[0])
    return () if trait is None else ((trait.time_ms, trait.id, None),)


def _window(register: Register, entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Return the instants to read: those of the entries, or everything that a register without instants can mean."""
    if register.form in TIMED_FORMS and entries:
        times = [entry[0] for entry in entries]
        return {"from_ms": min(times), "until_ms": max(times), "times": times}
    if register.form == "periods" and entries:
        start_ms, end_ms = entries[-1][0] * register.period_ms, (entries[0][0] + 1) * register.period_ms
        return {"from_ms": start_ms - register.offset_ms, "until_ms": end_ms - register.offset_ms - 1, "times": []}
    return {"from_ms": 0, "until_ms": NO_END_MS, "times": []}


async def _trait_events(warehouse: Warehouse, snapshot: ProfileSnapshot, entries: Sequence[Entry]) -> EventsJson:
    if not entries:
        return []
    at_ms, event_hash, _ = entries[0]
    events = await _read_events(warehouse, snapshot, "$identify", {"from_ms": at_ms, "until_ms": at_ms, "times": []}, bots=True)
    event = next((event for event in events if _event_hash(event) == event_hash), None)
    return _times_only(None, entries) if event is None else [_event_with_value(event)]


async def _read_events(
    warehouse: Warehouse, snapshot: ProfileSnapshot, label: str, window: Mapping[str, Any], *, bots: bool = False
) -> list[Event]:
    owners = list(snapshot.members)
    rows = await named_queries.fetch_rows(
        warehouse, "evidence_events", owners=owners, label=label, bots=bots, limit=MAX_READ, **window
    )
    return [event_from_row(row) for row in rows]


def _event_hash(event: Event) -> str:
    return message_hash(event.owner, event.id)


def _event_with_value(event: Event, register: Register | None = None, entry: Entry | None = None) -> dict[str, Any]:
    answer = {
        "id": event.id,
        **_event_to_json(
            kind=event.type, name=event.name, source=event.source, time_ms=event.time_ms, received_ms=event.received_ms
        ),
    }
    if register is None or entry is None:
        return answer
    if register.form in ("largest", "smallest"):
        return {**answer, "value": amount_to_number(entry[0])}
    if register.extract in ("amount", "amount_or_nothing"):
        return {**answer, "value": amount_to_number(entry[2])}
    return {**answer, "value": entry[2]} if register.extract in ("value", "consent", "subscription") else answer


def _times_only(register: Register | None, entries: Iterable[Entry]) -> EventsJson:
    """Return the instants of entries whose events ClickHouse does not have, if the register has instants."""
    if register is not None and register.form not in TIMED_FORMS:
        return []
    return [{"time": format_instant(entry[0])} for entry in entries]
