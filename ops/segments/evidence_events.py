"""The events behind a leaf: its entries know when, ClickHouse knows what."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ops.identity.references import moment
from ops.segments.profile_snapshot import Person
from ops.rebuild.profile_state import event_of
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.errors import OnefoldError
from schemas.events import Event
from schemas.hashes import message_hash
from domain.segments.explain import Behind, Explained
from domain.segments.registers import Entry, Register, number_of

MOST_SHOWN: Final = 10
"""Events shown of one leaf, the latest."""
MOST_READ: Final = 1_000
"""Events read to find them, where a register does not keep their times."""
MAX_LOOKUPS: Final = 100
TELLING_S: Final = 20.0
"""Longer than this no answer waits for ClickHouse."""
FOR_EVER: Final = 1 << 52
TIMED: Final = ("newest", "oldest", "newest_of_each")
"""Registers whose entries say when their events were."""

Shown = list[dict[str, Any]]


@dataclass(slots=True)
class Told:
    """The events of each `Behind` (by its identity), the last transition; `complete` is false when ClickHouse did not tell all."""

    events: dict[int, Shown] = field(default_factory=dict)
    transition: dict[str, Any] | None = None
    complete: bool = True


async def tell(connect: Callable[[], Awaitable[Warehouse]], person: Person, segment: str, tree: Explained) -> Told:
    """What ClickHouse knows of a tree's entries and of the last transition. Does not raise when it is away."""
    told = Told()
    wanted = [behind for one in tree.walk() for behind in one.behind]
    told.complete = len(wanted) <= MAX_LOOKUPS
    try:
        async with asyncio.timeout(TELLING_S):
            warehouse = await connect()
            told.transition = await _transition(warehouse, person, segment)
            for behind in wanted[:MAX_LOOKUPS]:
                told.events[id(behind)] = await _events(warehouse, person, behind)
    except (OnefoldError, TimeoutError):
        told.complete = False
    for behind in wanted:
        told.events.setdefault(id(behind), _unknown(behind.register, _named(behind, person)))
    return told


async def _transition(warehouse: Warehouse, person: Person, segment: str) -> dict[str, Any] | None:
    rows = await reads.ask(warehouse, "last_transition", profile_id=person.profile_id, segment=segment)
    if not rows:
        return None
    op, at_ms, evaluated_ms, cause, event_id, seq, version = rows[0]
    found = {"op": op, "at": moment(at_ms), "evaluated": moment(evaluated_ms), "cause": cause, "seq": seq, "version": version}
    if not event_id:
        return {**found, "event": None}
    events = await reads.ask(warehouse, "event_of_owners", owners=list(person.members), id=event_id)
    return {**found, "event": {"id": event_id, **(_said(*events[0]) if events else {})}}


def _said(kind: str, name: str, source: str, time_ms: int, received_ms: int) -> dict[str, Any]:
    return {"type": kind, "name": name, "source": source, "time": moment(time_ms), "received": moment(received_ms)}


async def _events(warehouse: Warehouse, person: Person, behind: Behind) -> Shown:
    register, entries = behind.register, _named(behind, person)
    if register is None:
        return await _of_trait(warehouse, person, entries)
    window = _window(register, entries)
    if behind.entries is not None and not entries:
        return []
    found = await _read(warehouse, person, register.event, window)
    if behind.entries is None:
        matching = [(event, entry) for event in found if (entry := register.entry(event, _tie(event))) is not None]
        return [_shown(event, register, entry) for event, entry in matching[:MOST_SHOWN]]
    left: dict[tuple[int, str], Entry] = {entry[:2]: entry for entry in entries}
    shown: Shown = []
    periods = register.form == "periods"
    for event in found:
        entry = register.entry(event, _tie(event))
        if entry is not None and entry[:2] in left and len(shown) < MOST_SHOWN:
            shown.append(_shown(event, register, entry))
            if not periods:
                del left[entry[:2]]
    return [*shown, *_unknown(register, left.values())]


def _named(behind: Behind, person: Person) -> Sequence[Entry]:
    """The entries that are shown: the latest of a register's, or that of the event that set a trait."""
    if behind.register is not None:
        return (behind.entries or ())[:MOST_SHOWN]
    registers = person.joined.registers
    trait = registers.get(behind.trait) or registers.get(behind.trait.split(".")[0])
    return () if trait is None else ((trait.time_ms, trait.id, None),)


def _window(register: Register, entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Which instants are asked for: those of the entries, or all that a register without instants can mean."""
    if register.form in TIMED and entries:
        times = [entry[0] for entry in entries]
        return {"from_ms": min(times), "until_ms": max(times), "times": times}
    if register.form == "periods" and entries:
        first, last = entries[-1][0] * register.period_ms, (entries[0][0] + 1) * register.period_ms
        return {"from_ms": first - register.offset_ms, "until_ms": last - register.offset_ms - 1, "times": []}
    return {"from_ms": 0, "until_ms": FOR_EVER, "times": []}


async def _of_trait(warehouse: Warehouse, person: Person, entries: Sequence[Entry]) -> Shown:
    if not entries:
        return []
    at_ms, tie, _ = entries[0]
    found = await _read(warehouse, person, "$identify", {"from_ms": at_ms, "until_ms": at_ms, "times": []}, bots=True)
    event = next((event for event in found if _tie(event) == tie), None)
    return _unknown(None, entries) if event is None else [_shown(event)]


async def _read(warehouse: Warehouse, person: Person, label: str, window: Mapping[str, Any], *, bots: bool = False) -> list[Event]:
    owners = list(person.members)
    rows = await reads.ask(warehouse, "events_behind", owners=owners, label=label, bots=bots, limit=MOST_READ, **window)
    return [event_of(row) for row in rows]


def _tie(event: Event) -> str:
    return message_hash(event.owner, event.id)


def _shown(event: Event, register: Register | None = None, entry: Entry | None = None) -> dict[str, Any]:
    said = {"id": event.id, **_said(event.type, event.name, event.source, event.time_ms, event.received_ms)}
    if register is None or entry is None:
        return said
    if register.form in ("largest", "smallest"):
        return {**said, "value": number_of(entry[0])}
    if register.take in ("amount", "amount_or_nothing"):
        return {**said, "value": number_of(entry[2])}
    return {**said, "value": entry[2]} if register.take in ("value", "consent", "subscription") else said


def _unknown(register: Register | None, entries: Iterable[Entry]) -> Shown:
    """Entries whose events ClickHouse does not have (yet), or did not tell: when they were is known, if the register says that."""
    if register is not None and register.form not in TIMED:
        return []
    return [{"time": moment(entry[0])} for entry in entries]
