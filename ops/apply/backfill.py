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

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.baseline import Baseline, SegmentTally
from domain.profiles.fragment import decode_fragment, encode_fragment
from domain.profiles.membership import encode_membership
from domain.profiles.register_seeds import RegisterSeeds
from domain.segments.plan import SegmentPlan
from domain.segments.plan_changes import PlanChanges, compare_plans
from ops import definitions_topic
from ops.apply.backfill_history import BackfillHistory, Offsets
from ops.apply.group_contributions import GroupContributionBackfill
from ops.apply.paused_partitions import PausedPartitions
from ops.apply.reevaluation import BackfillCheckpoint, Reevaluation, require_definitions_offset
from ops.apply.stored_profiles import CHUNK, chunks, read_profiles
from ops.definitions_topic import DefinitionsByKey
from ops.progress import ProgressReporter, report_nothing
from ops.writers_pause import topic_partitions_of, writers_paused
from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Transition
from warehouse.consumed import wait_until_consumed

CATCH_UP_S = 120.0
POLL_S = 0.05


@dataclass(slots=True)
class ApplyResult:
    """What was done. `waited_s` is how long the stream workers were held, `events` how many were folded into `registers` registers
    of `owners` owners; `segments` those that were computed, `profiles` how many were looked at again."""

    written: tuple[str, ...] = ()
    registers: int = 0
    events: int = 0
    owners: int = 0
    segments: dict[str, SegmentTally] = field(default_factory=dict)
    waited_s: float = 0.0
    profiles: int = 0


class Backfill:
    """Makes definitions live. `history` is asked only if they concern what history says."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        store: ProfileStore,
        history: BackfillHistory,
        clock: Clock,
        report: ProgressReporter = report_nothing,
    ) -> None:
        self._settings, self._bus, self._store, self._history, self._clock = settings, bus, store, history, clock
        self._report, self._reevaluation = report, Reevaluation(settings, bus, store, clock, report)

    async def apply(self, requested: Iterable[AnyDefinition]) -> ApplyResult:
        """Make live what is not yet. Raises Transient when a store lags or the workers do not keep up: then run it again."""
        definitions_end, result = await self._history.end_offsets("definitions"), ApplyResult()
        live_definitions = await definitions_topic.read_live(self._settings, self._bus)
        changed = [
            definition
            for definition in definitions_topic.seal(self._settings, requested)
            if live_definitions.get(definition.key) != definition
        ]
        resulting = {**live_definitions, **{one.key: one for one in changed}}
        changes, pending = (
            compare_plans(segment_plan_of(live_definitions.values()), segment_plan_of(resulting.values())),
            await self._reevaluation.pending(),
        )
        result.written = tuple(sorted(one.key for one in changed))
        if changes:
            pending = await self._switch(definitions_end, resulting, changed, changes, result)
        elif changed:
            await definitions_topic.write(self._settings, self._bus, changed)
        if pending and not changes:
            await require_definitions_offset(self._store, (await self._history.end_offsets("definitions")).get(0, 0))
        if pending:
            result.profiles = await self._reevaluation.run(pending)
        return result

    async def _switch(
        self,
        definitions_end: Offsets,
        resulting: DefinitionsByKey,
        changed: Sequence[AnyDefinition],
        changes: PlanChanges,
        result: ApplyResult,
    ) -> BackfillCheckpoint:
        """`wanted` is all that will be live, `changed` what of it is written; `definitions_end` is where the definitions ended
        before."""
        after = segment_plan_of(resulting.values())
        seeds, starts = RegisterSeeds(changes.registers), await self._shared_offsets()
        await self._fold_history(seeds, changes, starts, result)
        stale_owners = await self._stale_owners(changes)
        loop = asyncio.get_running_loop()
        async with writers_paused(self._store) as pause:
            paused_at_s = loop.time()
            paused = await PausedPartitions.fence(self._settings, self._bus, self._store)
            if await self._history.end_offsets("definitions") != definitions_end:
                raise Transient("the definitions were changed by somebody else meanwhile; nothing was changed here: run it again")
            await self._wait_for_clickhouse(paused, "nothing was changed")
            await self._fold_recent(seeds, changes, starts, paused, result)
            await self._write_seeds(seeds, stale_owners, paused, result)
            if changes.recount_households:
                await self._recount_households(after, definitions_topic.identity_rules_of(self._settings, resulting), paused)
            now_ms = await self._publish_baseline(after, changes, paused, result)
            offsets = paused.offsets("events")
            backfill_checkpoint = BackfillCheckpoint("backfill", now_ms, tuple(offsets[number] for number in sorted(offsets)))
            await self._reevaluation.begin(backfill_checkpoint)
            await self._after_step("noted")
            # Cut off from here on, the workers must not go on with what they knew: the hold lapses later than they know better.
            pause.leave_to_expire = True
            definitions_offset = await definitions_topic.write(self._settings, self._bus, changed)
            await self._after_step("written")
            await require_definitions_offset(self._store, definitions_offset)
            pause.leave_to_expire = False
            result.waited_s = loop.time() - paused_at_s
        await self._after_step("released")
        return backfill_checkpoint

    async def _after_step(self, step: str) -> None:
        """A step is done. For tests, which end it here."""

    async def _shared_offsets(self) -> dict[int, int]:
        """The offsets of `events` before which all is applied, and in ClickHouse."""
        consumed = await self._history.consumed_offsets("events")
        topic_partitions = await topic_partitions_of(self._settings, self._bus, "events")
        positions = {
            topic_partition.partition: (await self._store.checkpoint(topic_partition)).position or 0
            for topic_partition in topic_partitions
        }
        return {partition: min(consumed.get(partition, 0), position) for partition, position in positions.items()}

    async def _fold_history(
        self, seeds: RegisterSeeds, changes: PlanChanges, end_offsets: dict[int, int], result: ApplyResult
    ) -> None:
        result.registers = len(changes.registers)
        total = await self._history.count_events(changes.event_labels) if changes.event_labels else 0
        async for block in self._history.events(changes.event_labels, {}, end_offsets):
            for _, _, event in block:
                seeds.fold(event)
            result.events += len(block)
            self._report("events folded", result.events, total)
        await self._after_step("read")

    async def _stale_owners(self, changes: PlanChanges) -> set[str]:
        """Owners whose fragments may hold something of these registers. What is not in them now does not come before the switch,
        but by registers that are only to become larger, and those are seeded."""
        keys, owners = [key.encode() for key in changes.registers], set()
        if keys:
            async for owner, data in self._store.scan("fragment"):
                if any(key in data for key in keys):
                    owners.add(owner)
        return owners

    async def _wait_for_clickhouse(self, paused: PausedPartitions, consequence: str) -> None:
        """Wait until ClickHouse has every event that the store has applied, and every label and contribution that was published.

        Raises ClickHouseBehind, which ends with `consequence`.
        """
        required = {topic: await self._history.end_offsets(topic) for topic in ("identities", "groups")}
        required["events"] = paused.offsets("events")
        await wait_until_consumed(
            self._history.consumed_offsets, required, consequence=consequence, timeout_s=CATCH_UP_S, poll_s=POLL_S
        )
        await self._after_step("caught up")

    async def _fold_recent(
        self, seeds: RegisterSeeds, changes: PlanChanges, starts: dict[int, int], paused: PausedPartitions, result: ApplyResult
    ) -> None:
        """Fold the events since the first reading; those that the store has not applied yet wait for their fragment's word."""
        ends = paused.offsets("events")
        async for block in self._history.events(changes.event_labels, starts, {}):
            for partition, offset, event in block:
                if offset < ends[partition]:
                    seeds.fold(event)
                    result.events += 1
                else:
                    seeds.postpone(offset, event)

    async def _write_seeds(
        self, seeds: RegisterSeeds, stale_owners: set[str], paused: PausedPartitions, result: ApplyResult
    ) -> None:
        owners = {*seeds.owners, *stale_owners}
        for number, part in enumerate(chunks(owners)):
            fragment_documents = await self._store.documents("fragment", part)
            writes: dict[TopicPartition, dict[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]] = {}
            for owner, document in fragment_documents.items():
                if document.data is None:
                    continue
                topic_partition, fragment = paused.topic_partition_of("events", owner), decode_fragment(document.data)
                seeds.apply_to(owner, fragment, paused.applied_offset(topic_partition, document))
                if (data := encode_fragment(fragment)) != document.data:
                    writes.setdefault(topic_partition, {})["fragment", owner] = (data, document)
                    result.owners += 1
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)
                await self._after_step("planted")
            self._report("profiles seeded", min((number + 1) * CHUNK, len(owners)), len(owners))

    async def _recount_households(self, after: SegmentPlan, rules: CompiledIdentityRules, paused: PausedPartitions) -> None:
        """Have households count what they are to be asked for, and ClickHouse hear of it."""
        producer = await self._bus.producer()
        try:
            contribution_backfill = GroupContributionBackfill(
                self._settings, self._store, after, rules.household, self._clock.now_ms()
            )
            await contribution_backfill.run(await self._history.household_members(), paused, producer)
        finally:
            await producer.aclose()
        await self._after_step("grouped")
        await self._wait_for_clickhouse(paused, "the definitions are not live yet: run it again")

    async def _publish_baseline(
        self, after: SegmentPlan, changes: PlanChanges, paused: PausedPartitions, result: ApplyResult
    ) -> int:
        """Say who enters and leaves the segments to compute, then write it down; returns as of when. Who is behind is asked last,
        so that nobody is missed."""
        now_ms, history = self._clock.now_ms(), self._history
        names = changes.segments if any(paused.offsets("events").values()) else ()  # nobody is anywhere before the first event
        members = {name: await history.members(after, name, now_ms) for name in names}
        before = {name: await history.published_members(name) for name in names}
        late_owners = await history.owners_from(paused.offsets("events")) if names else set()
        labels = [await self._store.labels(part) for part in chunks(late_owners)]
        behind_profiles = {label.profile_id for chunk_labels in labels for label in chunk_labels.values()}
        baseline = Baseline(after, now_ms, members, changes.group_segments)
        candidates = {profile_id for name in members for profile_id in members[name] ^ before[name]} | behind_profiles
        producer = await self._bus.producer()
        try:
            for number, part in enumerate(chunks(candidates)):
                transitions: list[Transition] = []
                writes: dict[TopicPartition, dict[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]] = {}
                for profile_id, (document, profile) in (await read_profiles(self._store, part)).items():
                    membership, profile_transitions = baseline.decide(profile_id, profile, is_behind=profile_id in behind_profiles)
                    transitions += profile_transitions
                    if membership is not None:
                        topic_partition = paused.topic_partition_of("touched", profile_id)
                        writes.setdefault(topic_partition, {})["membership", profile_id] = (
                            encode_membership(membership),
                            document,
                        )
                topic = self._settings.topic("memberships")
                await producer.send(
                    [Outgoing(topic, encode(transition), key=transition.profile_id.encode()) for transition in transitions]
                )
                await self._after_step("said")
                for topic_partition, documents in writes.items():
                    await paused.write_documents(topic_partition, documents)
                self._report("profiles compared", min((number + 1) * CHUNK, len(candidates)), len(candidates))
        finally:
            await producer.aclose()
        for name in names:
            tally = result.segments[name] = baseline.tallies.get(name, SegmentTally())
            tally.before = len(before[name])
            tally.after = tally.before + tally.entered - tally.exited
        await self._after_step("compared")
        return now_ms
