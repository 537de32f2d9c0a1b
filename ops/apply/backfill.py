"""Definitions made live over the history that is there already, without a gap or a double.

Registers are seeded from ClickHouse's events before anybody waits. Then the writers are shut out for as long as it takes to fold
the events that have come since, to write the seeds, and to say who is in the new segments by SQL; the definitions are written, and
the writers go on once they know them: an event is in a seed or is fed by the new plan, never both and never neither. At last every
profile is looked at again, for its timers and read models.

Cut off anywhere, the same command run a second time completes it. Until the definitions are written it does all of it again: seeds
replace what is there, and a baseline says only what its documents do not say yet (a transition may be said twice, with numbers that
grow). After that, a note in the store says that profiles are still to be looked at. Between the two, the hold is left to lapse.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ops import definitions_topic as definitions
from ops.apply.baseline import Baseline, Tally
from ops.apply.plan_changes import Changes, compare
from ops.apply.paused_partitions import Frozen
from ops.apply.backfill_history import History, Offsets
from ops.apply.stored_profiles import CHUNK, chunks, people
from ops.progress import Report, silent
from ops.apply.group_contributions import Regroup
from ops.apply.register_seeds import Seeds
from ops.apply.reevaluation import Note, Touching, presume
from ops.definitions_topic import Documents
from ops.writers_pause import holding, places_of, until
from ops.rebuild.profile_state import rules_of
from domain.profiles import membership as memberships, fragment as model
from profile_store.port import Document, Kind, Place, ProfileStore
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Transition
from domain.definitions.kinds import AnyDefinition
from domain.identity.rules import Rules
from domain.segments.plan import Plan

CATCH_UP_S = 120.0
LOOK_S = 0.05


@dataclass(slots=True)
class Applied:
    """What was done. `waited_s` is how long the stream workers were held, `events` how many were folded into `registers` registers
    of `owners` owners; `segments` those that were computed, `profiles` how many were looked at again."""

    written: tuple[str, ...] = ()
    registers: int = 0
    events: int = 0
    owners: int = 0
    segments: dict[str, Tally] = field(default_factory=dict)
    waited_s: float = 0.0
    profiles: int = 0


class Backfill:
    """Makes definitions live. `history` is asked only if they concern what history says."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, history: History, clock: Clock, report: Report = silent
    ) -> None:
        self._settings, self._bus, self._store, self._history, self._clock = settings, bus, store, history, clock
        self._report, self._touching = report, Touching(settings, bus, store, clock, report)

    async def apply(self, given: Iterable[AnyDefinition]) -> Applied:
        """Make live what is not yet. Raises Transient when a store lags or the workers do not keep up: then run it again."""
        end, applied = await self._history.ends("definitions"), Applied()
        known = await definitions.live(self._settings, self._bus)
        fresh = [one for one in definitions.sealed(self._settings, given) if known.get(one.key) != one]
        wanted = {**known, **{one.key: one for one in fresh}}
        changes, pending = compare(Plan(known.values()), Plan(wanted.values())), await self._touching.pending()
        applied.written = tuple(sorted(one.key for one in fresh))
        if changes:
            pending = await self._switch(end, wanted, fresh, changes, applied)
        elif fresh:
            await definitions.write(self._settings, self._bus, fresh)
        if pending and not changes:
            await presume(self._store, (await self._history.ends("definitions")).get(0, 0))
        if pending:
            applied.profiles = await self._touching.run(pending)
        return applied

    async def _switch(
        self, end: Offsets, wanted: Documents, fresh: Sequence[AnyDefinition], changes: Changes, applied: Applied
    ) -> Note:
        """`wanted` is all that will be live, `fresh` what of it is written; `end` is where the definitions ended before."""
        after = Plan(wanted.values())
        seeds, starts = Seeds(changes.registers), await self._shared()
        await self._read(seeds, changes, starts, applied)
        stale = await self._stale(changes)
        loop = asyncio.get_running_loop()
        async with holding(self._store) as hold:
            began = loop.time()
            frozen = await Frozen.freeze(self._settings, self._bus, self._store)
            if await self._history.ends("definitions") != end:
                raise Transient("the definitions were changed by somebody else meanwhile; nothing was changed here: run it again")
            await self._caught_up(frozen)
            await self._rest(seeds, changes, starts, frozen, applied)
            await self._plant(seeds, stale, frozen, applied)
            if changes.regroups:
                await self._regroup(after, rules_of(self._settings, wanted), frozen)
            now_ms = await self._baseline(after, changes, frozen, applied)
            offsets = frozen.offsets("events")
            note = Note("backfill", now_ms, tuple(offsets[number] for number in sorted(offsets)))
            await self._touching.begin(note)
            await self._reached("noted")
            # Cut off from here on, the workers must not go on with what they knew: the hold lapses later than they know better.
            hold.lapse = True
            written = await definitions.write(self._settings, self._bus, fresh)
            await self._reached("written")
            await presume(self._store, written)
            hold.lapse = False
            applied.waited_s = loop.time() - began
        await self._reached("released")
        return note

    async def _reached(self, step: str) -> None:
        """A step is done. For tests, which end it here."""

    async def _shared(self) -> dict[int, int]:
        """The offsets of `events` before which all is applied, and in ClickHouse."""
        noted = await self._history.positions("events")
        places = await places_of(self._settings, self._bus, "events")
        standings = {place.partition: (await self._store.standing(place)).position or 0 for place in places}
        return {number: min(noted.get(number, 0), position) for number, position in standings.items()}

    async def _read(self, seeds: Seeds, changes: Changes, until_offsets: dict[int, int], applied: Applied) -> None:
        applied.registers = len(changes.registers)
        total = await self._history.count(changes.labels) if changes.labels else 0
        async for block in self._history.events(changes.labels, {}, until_offsets):
            for _, _, event in block:
                seeds.take(event)
            applied.events += len(block)
            self._report("events folded", applied.events, total)
        await self._reached("read")

    async def _stale(self, changes: Changes) -> set[str]:
        """Owners whose fragments may hold something of these registers. What is not in them now does not come before the switch,
        but by registers that are only to become larger, and those are seeded."""
        keys, found = [key.encode() for key in changes.registers], set()
        if keys:
            async for owner, data in self._store.scan("fragment"):
                if any(key in data for key in keys):
                    found.add(owner)
        return found

    async def _caught_up(self, frozen: Frozen) -> None:
        """Wait until ClickHouse has every event that the store has applied, and every label that was said."""
        wanted = {topic: await self._history.ends(topic) for topic in ("identities", "groups")}
        wanted["events"] = frozen.offsets("events")

        async def arrived() -> bool:
            return all([await self._history.holds(topic, offsets) for topic, offsets in wanted.items()])

        if not await until(arrived, CATCH_UP_S, LOOK_S):
            raise Transient("ClickHouse lags behind the profile store: are the consumers running? nothing was changed")
        await self._reached("caught up")

    async def _rest(self, seeds: Seeds, changes: Changes, starts: dict[int, int], frozen: Frozen, applied: Applied) -> None:
        """Fold the events since the first reading; those that the store has not applied yet wait for their fragment's word."""
        ends = frozen.offsets("events")
        async for block in self._history.events(changes.labels, starts, {}):
            for partition, offset, event in block:
                if offset < ends[partition]:
                    seeds.take(event)
                    applied.events += 1
                else:
                    seeds.postpone(offset, event)

    async def _plant(self, seeds: Seeds, stale: set[str], frozen: Frozen, applied: Applied) -> None:
        owners = {*seeds.owners, *stale}
        for number, part in enumerate(chunks(owners)):
            found = await self._store.documents("fragment", part)
            written: dict[Place, dict[tuple[Kind, str], tuple[bytes, Document]]] = {}
            for owner, document in found.items():
                if document.data is None:
                    continue
                place, fragment = frozen.place_of("events", owner), model.decode(document.data)
                seeds.plant(owner, fragment, frozen.applied(place, document))
                if (data := model.encode(fragment)) != document.data:
                    written.setdefault(place, {})["fragment", owner] = (data, document)
                    applied.owners += 1
            for place, documents in written.items():
                await frozen.put(place, documents)
                await self._reached("planted")
            self._report("profiles seeded", min((number + 1) * CHUNK, len(owners)), len(owners))

    async def _regroup(self, after: Plan, rules: Rules, frozen: Frozen) -> None:
        """Have households count what they are to be asked for, and ClickHouse hear of it."""
        producer = await self._bus.producer()
        try:
            regroup = Regroup(self._settings, self._store, after, rules.household, self._clock.now_ms())
            await regroup.run(await self._history.in_households(), frozen, producer)
        finally:
            await producer.aclose()
        await self._reached("grouped")
        await self._caught_up(frozen)

    async def _baseline(self, after: Plan, changes: Changes, frozen: Frozen, applied: Applied) -> int:
        """Say who enters and leaves the segments to compute, then write it down; returns as of when. Who is behind is asked last,
        so that nobody is missed."""
        now_ms, history = self._clock.now_ms(), self._history
        names = changes.segments if any(frozen.offsets("events").values()) else ()  # nobody is anywhere before the first event
        members = {name: await history.members(after, name, now_ms) for name in names}
        before = {name: await history.shown(name) for name in names}
        late = await history.owners_from(frozen.offsets("events")) if names else set()
        labels = [await self._store.labels(part) for part in chunks(late)]
        behind = {label.profile_id for found in labels for label in found.values()}
        baseline = Baseline(after, now_ms, members, changes.grouped)
        wanted = {profile_id for name in members for profile_id in members[name] ^ before[name]} | behind
        producer = await self._bus.producer()
        try:
            for number, part in enumerate(chunks(wanted)):
                said: list[Transition] = []
                written: dict[Place, dict[tuple[Kind, str], tuple[bytes, Document]]] = {}
                for profile_id, (document, person) in (await people(self._store, part)).items():
                    held, transitions = baseline.decide(profile_id, person, behind=profile_id in behind)
                    said += transitions
                    if held is not None:
                        place = frozen.place_of("touched", profile_id)
                        written.setdefault(place, {})["membership", profile_id] = (memberships.encode(held), document)
                topic = self._settings.topic("memberships")
                await producer.send([Outgoing(topic, encode(one), key=one.profile_id.encode()) for one in said])
                await self._reached("said")
                for place, documents in written.items():
                    await frozen.put(place, documents)
                self._report("profiles compared", min((number + 1) * CHUNK, len(wanted)), len(wanted))
        finally:
            await producer.aclose()
        for name in names:
            tally = applied.segments[name] = baseline.tallies.get(name, Tally())
            tally.before = len(before[name])
            tally.now = tally.before + tally.entered - tally.left
        await self._reached("compared")
        return now_ms
