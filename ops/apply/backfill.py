"""The backfill: making definitions live over the history that is there already, with every event counted exactly once.

**Why.** A definition counts from the moment at which the agents know it. A segment such as "ordered twice in 90 days" must be
right at once for people whose orders came before that moment, without stopping the pipeline for as long as reading all of
history takes.

**Steps.** 1. The registers that the new plan needs are folded from ClickHouse's events, while everything runs. 2. The writers
of all partitions are paused and fenced, and ClickHouse catches up. 3. The events that came since step 1 are folded, and the
seeds are written into the fragments. 4. ClickHouse's SQL says who is in each new or changed segment; the transitions are
published with the cause `backfill`, and the membership documents are written. 5. The checkpoint of the backfill is saved, the
definitions are published, and the offset that workers must know is raised. 6. The writers go on, and every profile is
evaluated again, for its timers and read models.

**Invariant.** An event is in a seed or is fed by an agent that knows the new plan, never both and never neither. The cut is
one instant in all partitions: between the fence (no worker that loaded before it can save) and `require_definitions_offset`
(no worker that lacks the new definitions may load after it) nothing is applied at all.

**Interrupted anywhere, the same command run again completes it.** Before the definitions are published all of it is done
again: seeds replace what is in the registers, and the baseline publishes only what the documents do not have (at worst a
transition a second time, with a larger number). Afterwards the saved checkpoint says that profiles are still to be evaluated.
Between the two, the pause is not lifted but expires by itself, a minute later: workers that went on at once could not know
the new definitions yet.

**Example.** Partition 0 of `events` ends at 1,000 when `onefold apply` starts, and both stores have all of it. Events 0 to
999 are folded in step 1, in half a minute. The fence finds position 1,040, so in step 3 events 1,000 to 1,039 are folded, in
milliseconds, and events from 1,040 on are left to the agent, which applies them after step 5 with the new plan. The agents
waited for about two seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from domain.definitions.kinds import AnyDefinition, IdentityRules
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
from ops.apply.name_backfill import NameBackfill
from ops.apply.paused_partitions import DocumentWrites, PausedPartitions
from ops.apply.reevaluation import BackfillCheckpoint, Reevaluation, require_definitions_offset
from ops.apply.rules_round import STALL_S, wait_for_rules_round
from ops.apply.stored_profiles import CHUNK, chunks, read_profiles
from ops.definitions_topic import DefinitionsByKey
from ops.progress import ProgressReporter, report_nothing
from ops.writers_pause import topic_partitions_of, writers_paused
from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Transition
from warehouse.consumed import wait_until_consumed

CATCH_UP_S: Final = 120.0
"""How long ClickHouse may take to catch up while the writers are paused. The pause is renewed for as long as this process lives."""
POLL_S: Final = 0.05
"""How often ClickHouse's offsets are read. Agents are waiting meanwhile, so it is shorter than elsewhere."""

BackfillStep = Literal[
    "history folded",
    "clickhouse caught up",
    "seeds written",
    "households recounted",
    "transitions published",
    "baseline written",
    "checkpoint saved",
    "definitions published",
    "writers resumed",
]
"""The points between which a backfill has no effect that a second run could not repeat."""
StepObserver = Callable[[BackfillStep], Awaitable[None]]


async def ignore_step(_: BackfillStep) -> None:
    """Observe nothing."""


@dataclass(slots=True)
class ApplyResult:
    """The outcome of one `onefold apply`.

    `written` are the keys of the definitions that were published. `events` were folded into `registers` registers of `owners`
    owners. `segments` are the segments that were computed. `waited_s` is how long the agents were paused, in seconds.
    `profiles` is how many profiles were evaluated again. `identity_rules` is None when the identity rules did not change, else
    whether all profiles follow them already.
    """

    written: tuple[str, ...] = ()
    registers: int = 0
    events: int = 0
    owners: int = 0
    segments: dict[str, SegmentTally] = field(default_factory=dict)
    waited_s: float = 0.0
    profiles: int = 0
    identity_rules: Literal["followed", "pending"] | None = None


class Backfill:
    """Makes definitions live; one object for one `apply`.

    `history` is connected only when the definitions need history: a new source needs none. `observe` is called after each
    step, and an error that it raises interrupts the backfill there. `stall_s` is how long the link agent may show no progress in
    following changed identity rules before `apply` leaves it alone.
    """

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        store: ProfileStore,
        history: BackfillHistory,
        clock: Clock,
        report: ProgressReporter = report_nothing,
        observe: StepObserver = ignore_step,
        stall_s: float = STALL_S,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._history = history
        self._clock = clock
        self._report = report
        self._observe = observe
        self._stall_s = stall_s
        self._reevaluation = Reevaluation(settings=settings, bus=bus, store=store, clock=clock, report=report)

    async def apply(self, requested: Iterable[AnyDefinition]) -> ApplyResult:
        """Make live the requested definitions that are not live yet, and complete what an interrupted run has left over.

        Raises Transient when somebody else changes definitions at the same time, when ClickHouse or the agents are behind, or
        when a store does not answer. In each case the same command, run again, completes it.
        """
        # Read before the live definitions: if the topic has grown by the time of the fence, somebody wrote what was not read
        # here.
        definitions_end = await self._history.end_offsets("definitions")
        result = ApplyResult()
        requested = list(requested)
        replaced = [definition.key for definition in requested]
        live_definitions = await definitions_topic.read_live(self._settings, self._bus, replaced=replaced)
        sealed = definitions_topic.seal(self._settings, requested, live_definitions)
        changed = [definition for definition in sealed if live_definitions.get(definition.key) != definition]
        resulting = {**live_definitions, **{definition.key: definition for definition in changed}}
        changes = compare_plans(segment_plan_of(live_definitions.values()), segment_plan_of(resulting.values()))
        pending = await self._reevaluation.pending()
        result.written = tuple(sorted(definition.key for definition in changed))
        if changes:
            # The new checkpoint replaces a pending one: it touches every profile too, by definitions that are newer.
            pending = await self._switch(
                definitions_end=definitions_end, resulting=resulting, changed=changed, changes=changes, result=result
            )
        elif changed:
            await definitions_topic.write(self._settings, self._bus, changed)
        if pending and not changes:
            # The interrupted run may have published its definitions without having raised the offset that workers must know.
            await require_definitions_offset(self._store, (await self._history.end_offsets("definitions")).get(0, 0))
        if pending:
            result.profiles = await self._reevaluation.run(pending)
        if any(isinstance(definition, IdentityRules) for definition in changed):
            followed = await wait_for_rules_round(self._store, definitions_end.get(0, 0), self._report, stall_s=self._stall_s)
            result.identity_rules = "followed" if followed else "pending"
        return result

    async def _switch(
        self,
        definitions_end: Offsets,
        resulting: DefinitionsByKey,
        changed: Sequence[AnyDefinition],
        changes: PlanChanges,
        result: ApplyResult,
    ) -> BackfillCheckpoint:
        """Seed, compute and publish, then let the writers go on by the new definitions; return the checkpoint of what is left.

        `resulting` are all definitions that will be live and `changed` those of them that are published. `definitions_end` is
        where the definitions topic ended when they were read.
        """
        after = segment_plan_of(resulting.values())
        seeds = RegisterSeeds(changes.registers)
        starts = await self._offsets_in_both_stores()
        await self._fold_history(seeds, changes, starts, result)
        stale_owners = await self._stale_owners(changes)
        names = NameBackfill(self._store, self._history, changes, after.retained)
        dropping_owners = await names.dropping_owners()
        loop = asyncio.get_running_loop()
        async with writers_paused(self._store) as pause:
            paused_at_s = loop.time()
            paused = await PausedPartitions.fence(self._settings, self._bus, self._store)
            if await self._history.end_offsets("definitions") != definitions_end:
                raise Transient("the definitions were changed by somebody else meanwhile; nothing was changed here: run it again")
            await self._wait_for_clickhouse(paused, "nothing was changed")
            await self._fold_recent(seeds=seeds, changes=changes, starts=starts, paused=paused, result=result)
            await self._write_seeds(seeds, stale_owners, paused, result)
            await names.seed(dropping_owners, starts, paused)
            await names.seed_accounts(paused)
            if changes.recount_households:
                await self._recount_households(after, definitions_topic.identity_rules_of(self._settings, resulting), paused)
            now_ms = await self._publish_baseline(after, changes, paused, result)
            offsets = paused.offsets("events")
            # Saved before the definitions are published: once they are live, nothing else says that profiles must be evaluated.
            checkpoint = BackfillCheckpoint(
                cause="backfill", since_ms=now_ms, offsets=tuple(offsets[partition] for partition in sorted(offsets))
            )
            await self._reevaluation.begin(checkpoint)
            await self._observe("checkpoint saved")
            # If this process dies between here and the raised offset, nothing but the pause keeps workers from applying
            # events by the old plan. So it is left to expire, by when every worker has followed the definitions topic.
            pause.leave_to_expire = True
            definitions_offset = await definitions_topic.write(self._settings, self._bus, changed)
            await self._observe("definitions published")
            await require_definitions_offset(self._store, definitions_offset)
            pause.leave_to_expire = False
            result.waited_s = loop.time() - paused_at_s
        await self._observe("writers resumed")
        return checkpoint

    async def _offsets_in_both_stores(self) -> dict[int, int]:
        """Return by partition of `events` the offset before which every event is applied by the store and is in ClickHouse.

        Events before it can be folded at once: no fragment can still apply them, so they need no cut.
        """
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
        """Fold the events before `end_offsets` into the seeds, while the agents are at work."""
        result.registers = len(changes.registers)
        total = await self._history.count_events(changes.event_labels) if changes.event_labels else 0
        async for block in self._history.events(changes.event_labels, {}, end_offsets):
            for _, _, event in block:
                seeds.fold(event)
            result.events += len(block)
            self._report("events folded", result.events, total)
        await self._observe("history folded")

    async def _stale_owners(self, changes: PlanChanges) -> set[str]:
        """Return the owners whose fragments may have entries of the registers to seed, from an earlier life of a definition.

        These must be emptied even when history has no event for them. The scan runs before the fence, and that is enough:
        until the switch no agent feeds a register that is new, and the owners that feed an enlarged one are among the seeded
        owners anyway.
        """
        keys = [key.encode() for key in changes.registers]
        owners: set[str] = set()
        if keys:
            async for owner, data in self._store.scan("fragment"):
                # The key somewhere in the bytes: decoding every fragment would take longer, and a false hit is only written
                # again.
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
        await self._observe("clickhouse caught up")

    async def _fold_recent(
        self, seeds: RegisterSeeds, changes: PlanChanges, starts: dict[int, int], paused: PausedPartitions, result: ApplyResult
    ) -> None:
        """Fold the events since the first reading.

        An event after the partition's position is postponed: its fragment may have applied it already, when a worker died after
        saving the fragment and before saving the position. Only the fragment itself can tell.
        """
        ends = paused.offsets("events")
        async for block in self._history.events(changes.event_labels, starts, {}):
            for partition, offset, event in block:
                # Before the position every event is applied, whatever offset the fragment's own guard has.
                if offset < ends[partition]:
                    seeds.fold(event)
                    result.events += 1
                else:
                    seeds.postpone(offset, event)

    async def _write_seeds(
        self, seeds: RegisterSeeds, stale_owners: set[str], paused: PausedPartitions, result: ApplyResult
    ) -> None:
        """Put the seeds into the fragments of their owners, and empty the registers of other owners that have entries in them."""
        owners = {*seeds.owners, *stale_owners}
        for number, part in enumerate(chunks(owners)):
            fragment_documents = await self._store.documents("fragment", part)
            writes: DocumentWrites = {}
            for owner, document in fragment_documents.items():
                if document.data is None:
                    # The owner's first event is in ClickHouse and not applied: the agent will apply it, by the new plan.
                    continue
                topic_partition = paused.topic_partition_of("events", owner)
                fragment = decode_fragment(document.data)
                seeds.apply_to(owner, fragment, paused.applied_offset(topic_partition, document))
                if (data := encode_fragment(fragment)) != document.data:
                    writes.setdefault(topic_partition, {})["fragment", owner] = (data, document)
                    result.owners += 1
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)
                await self._observe("seeds written")
            self._report("profiles seeded", min((number + 1) * CHUNK, len(owners)), len(owners))

    async def _recount_households(self, after: SegmentPlan, rules: CompiledIdentityRules, paused: PausedPartitions) -> None:
        """Publish what profiles contribute to the counts that the new plan asks of households, and wait until ClickHouse has it.

        The SQL of the baseline reads those counts.
        """
        producer = await self._bus.producer()
        try:
            contribution_backfill = GroupContributionBackfill(
                settings=self._settings, store=self._store, plan=after, rule=rules.household, now_ms=self._clock.now_ms()
            )
            await contribution_backfill.run(await self._history.household_members(), paused, producer)
        finally:
            await producer.aclose()
        await self._observe("households recounted")
        await self._wait_for_clickhouse(paused, "the definitions are not live yet: run it again")

    async def _publish_baseline(
        self, after: SegmentPlan, changes: PlanChanges, paused: PausedPartitions, result: ApplyResult
    ) -> int:
        """Publish who enters and exits the computed segments, write it into the membership documents, and return its instant.

        Only profiles that could differ are read: those that SQL and the published transitions do not agree on, and those that
        ClickHouse has unapplied events of.
        """
        now_ms, history = self._clock.now_ms(), self._history
        # Before the first event nobody exists, and SQL over empty tables would only cost time.
        names = changes.segments if any(paused.offsets("events").values()) else ()
        members = {name: await history.members(after, name, now_ms) for name in names}
        before = {name: await history.published_members(name) for name in names}
        # Read after the members: an event that reaches ClickHouse between the two queries must make its owner count as behind.
        late_owners = await history.owners_from(paused.offsets("events")) if names else set()
        labels = [await self._store.labels(part) for part in chunks(late_owners)]
        behind_profiles = {label.profile_id for chunk_labels in labels for label in chunk_labels.values()}
        baseline = Baseline(after, now_ms, members, changes.group_segments)
        candidates = {profile_id for name in members for profile_id in members[name] ^ before[name]} | behind_profiles
        producer = await self._bus.producer()
        try:
            for number, part in enumerate(chunks(candidates)):
                transitions: list[Transition] = []
                writes: DocumentWrites = {}
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
                # Published before the documents are written. The other way round, a crash in between would leave members whom
                # ClickHouse and activation never heard of.
                await producer.send(
                    [Outgoing(topic, encode(transition), key=transition.profile_id.encode()) for transition in transitions]
                )
                await self._observe("transitions published")
                for topic_partition, documents in writes.items():
                    await paused.write_documents(topic_partition, documents)
                self._report("profiles compared", min((number + 1) * CHUNK, len(candidates)), len(candidates))
        finally:
            await producer.aclose()
        for name in names:
            tally = result.segments[name] = baseline.tallies.get(name, SegmentTally())
            tally.before = len(before[name])
            tally.after = tally.before + tally.entered - tally.exited
        await self._observe("baseline written")
        return now_ms
