"""The rebuild: the law Stores are projections, carried out. The profile store is made anew from ClickHouse.

**Why.** Redis may lose everything, and a fault may leave it in a state that no event explains. ClickHouse has every event,
link, decision and transition, and Kafka has the tail that ClickHouse has not consumed yet. That is enough to make Redis
again.

**Steps.** 1. The writers are paused, and the positions stand still. 2. ClickHouse catches up with them. 3. The state is
recomputed in memory, while the old one is still in place. 4. The old state is wiped, and the new one is written. 5. The
positions are written. 6. Every identity is published again, and every profile is touched, so that its timers and read models
are made again.

**Invariant.** Positions are written last. A rebuild that is interrupted leaves partitions without a position: a store that
says "read from the beginning", and never one that claims to have applied what it lost. Workers that start then read the log
again, which is harmless because documents are guarded; running the rebuild again completes it.

**Example.** Partition 0 of `events` has the position 1,000 in Redis, and ClickHouse has noted 1,004, since the consumers are
ahead. The fragments are recomputed from the events before 1,004 and guarded at 1,003, and the position becomes 1,004: the
events 1,000 to 1,003 are in the fragments already, and the agent begins after them. The segment agent's own position is kept,
because `touched` is not in ClickHouse.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import membership_groups_from_records
from domain.identity.model import Members
from domain.identity.relabelling import identity_record
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.state import RecomputedState, state_hash
from domain.segments.plan import SegmentPlan
from ops import definitions_topic
from ops.rebuild import refill
from ops.rebuild.refill import DocumentsByPartition, ProfileHistory, RebuiltIdentities, RefillOffsets
from ops.rebuild.store_states import read_profiles_from_redis, recompute_from_clickhouse
from ops.writers_pause import topic_partitions_of, writers_paused
from profile_store import encoding
from profile_store.port import DEFINITIONS_PARTITION, ProfileStore, TopicPartition, Writes
from runtime.bus.port import Bus, Outgoing
from runtime.chunks import chunked
from runtime.clock import Clock
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import GroupRecord, Touched
from warehouse import group_records as groups
from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.consumed import consumed_offsets, wait_until_consumed

KINDS: Final = (
    "fragment", "membership", "group", "link_outbox", "backfill_checkpoint", "label", "members", "edges", "public_edges", "timer",
    "position",
)  # fmt: skip
"""The kinds that a rebuild wipes. Fences stay, so that no worker from before can save. Settled deliveries stay, because
ClickHouse does not have them."""
QUIET_S: Final = 2.0
"""How long no position may move before the workers count as paused: longer than one slice takes."""
CATCH_UP_S: Final = 120.0
"""How long the workers may take to pause, and ClickHouse to catch up."""
POLL_S: Final = 0.25
_UNKNOWN_OFFSET: Final = 0


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """How much was written, and the state hash before and after: they are equal when nothing was lost or wrong."""

    events: int
    fragments: int
    profiles: int
    memberships: int
    before: str
    after: str


class Rebuild:
    """One rebuild of the profile store. `quiet_s` is how long no position may move before the old state is replaced."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, warehouse: Warehouse, clock: Clock, *, quiet_s: float = QUIET_S
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self._warehouse = warehouse
        self._clock = clock
        self._quiet_s = quiet_s

    async def run(self) -> RebuildResult:
        """Pause the workers, refill the store, and let the workers go on.

        Raises Transient when a worker does not pause or ClickHouse is behind, before anything was wiped; and whenever a store
        does not answer, after which the rebuild must be run again.
        """
        plan, rules = await self._live_plan_and_rules()
        async with writers_paused(self._store):
            positions = await self._wait_for_quiet_workers()
            await self._wait_for_clickhouse(positions)
            before = state_hash(await read_profiles_from_redis(self._store), plan.registers, plan.retained)
            # Read while the writers are paused: a label that came after this would be newer than the rebuilt ones and win.
            version = 1 + await self._newest_version()
            contributions = [contribution async for contribution in groups.stream_group_records(self._warehouse)]
            history = await _read_profile_history(self._warehouse, contributions)
            # ClickHouse goes on consuming while it is read, so the offsets are noted first and bound the events: the fragments
            # and the positions then stand for the same events. Evidence needs no bound, since adding it twice changes nothing.
            refill_offsets = await self._refill_offsets(positions)
            recomputed = await recompute_from_clickhouse(
                self._warehouse,
                plan,
                self._settings.tenant_key,
                rules,
                {topic_partition.partition: offset for topic_partition, offset in refill_offsets.events.items()},
            )
            identities = refill.rebuild_identities(recomputed, history, version, self._clock.now_ms())
            transitions = await named_queries.fetch_rows(self._warehouse, "transitions")
            membership_documents = refill.membership_documents(
                rows=transitions, rebuilt=identities, history=history, recomputed=recomputed, offsets=refill_offsets.touched
            )
            documents = (
                refill.fragment_documents(recomputed, refill_offsets.events),
                membership_documents,
                refill.group_documents(contributions, refill_offsets.groups, plan.retained),
            )
            await self._refill(recomputed, identities, documents, refill_offsets)
            after = state_hash(await read_profiles_from_redis(self._store), plan.registers, plan.retained)
            profiles = recomputed.state.profiles()
            profile_ids = {
                profile_id for partition_documents in membership_documents.values() for _, profile_id in partition_documents
            }
            await self._publish(identities, sorted(profiles.keys() | profile_ids))
        return RebuildResult(
            events=recomputed.events,
            fragments=len(recomputed.state.fragments),
            profiles=len(profiles),
            memberships=len(profile_ids),
            before=before,
            after=after,
        )

    async def _live_plan_and_rules(self) -> tuple[SegmentPlan, CompiledIdentityRules]:
        live_definitions = await definitions_topic.read_live(self._settings, self._bus)
        plan = segment_plan_of(live_definitions.values())
        return plan, definitions_topic.identity_rules_of(self._settings, live_definitions)

    async def _refill(
        self,
        recomputed: RecomputedState,
        identities: RebuiltIdentities,
        documents: Iterable[DocumentsByPartition],
        refill_offsets: RefillOffsets,
    ) -> None:
        """Wipe the old state and write the new one, the positions last."""
        # The wipe removes this position too. It must come back, because the recomputed registers are those of the live plan:
        # a worker that lacks these definitions may not feed them.
        definitions_offset = (await self._store.checkpoint(DEFINITIONS_PARTITION)).definitions_offset
        await self._store.wipe(KINDS)
        for by_partition in documents:
            for topic_partition, partition_documents in by_partition.items():
                await self._write(topic_partition, Writes(documents=partition_documents))
        identity_state = recomputed.identity
        # `links` has a single partition, so labels, members and evidence are written once.
        for topic_partition in refill_offsets.links:
            writes = Writes(
                labels=identities.labels, members=identities.members, edges=identity_state.edges, decisions=identity_state.decisions
            )
            await self._write(topic_partition, writes)
        # Last, because a position claims that everything before it is in the store. Before, it is 0 or absent.
        for topic_partition, offset in {DEFINITIONS_PARTITION: definitions_offset, **refill_offsets.by_topic_partition()}.items():
            await self._store.save(topic_partition, (await self._store.checkpoint(topic_partition)).position, offset, Writes())

    async def _wait_for_quiet_workers(self) -> dict[TopicPartition, int]:
        """Return the positions once none has moved for `quiet_s`: slices that were in progress when the pause began have ended.

        The writers are not fenced, so that a worker ends its slice in peace. Raises Transient when positions go on moving.
        """
        topic_partitions = await topic_partitions_of(self._settings, self._bus, "events", "links", "touched", "groups")
        loop = asyncio.get_running_loop()
        positions: dict[TopicPartition, int] = {}
        quiet_since_s, deadline_s = loop.time(), loop.time() + CATCH_UP_S
        while loop.time() < deadline_s:
            current_positions = {
                topic_partition: (await self._store.checkpoint(topic_partition)).position or _UNKNOWN_OFFSET
                for topic_partition in topic_partitions
            }
            # A worker that loaded its slice before the pause still saves it, and that moves its position. So only positions
            # that rest for longer than a slice takes prove that no such worker is left.
            if current_positions != positions:
                positions, quiet_since_s = current_positions, loop.time()
            elif loop.time() - quiet_since_s >= self._quiet_s:
                return positions
            await asyncio.sleep(min(POLL_S, self._quiet_s))
        raise Transient(
            "the stream workers do not pause: is one of them older than this command? see `onefold status`; nothing was changed"
        )

    async def _wait_for_clickhouse(self, positions: Mapping[TopicPartition, int]) -> None:
        """Wait until ClickHouse has everything that the store has applied, and everything that was published about profiles.

        Raises ClickHouseBehind. Transitions and read models are part of it: their numbers must go on where they were.
        """
        required: dict[str, dict[int, int]] = {
            topic: await self._bus.end_offsets(self._settings.topic(topic))
            for topic in ("identities", "memberships", "profiles", "groups")
        }
        for topic in ("events", "links"):
            required[topic] = {
                topic_partition.partition: offset for topic_partition, offset in positions.items() if topic_partition.topic == topic
            }

        await wait_until_consumed(self._consumed_offsets, required, consequence="nothing was changed", timeout_s=CATCH_UP_S)

    async def _consumed_offsets(self, topic: str) -> dict[int, int]:
        return await consumed_offsets(self._warehouse, self._settings.topic(topic))

    async def _refill_offsets(self, positions: Mapping[TopicPartition, int]) -> RefillOffsets:
        """Return the offsets that the refilled state stands for: those of ClickHouse, and the segment agent's own for `touched`."""
        event_offsets = await self._consumed_offsets("events")
        link_offsets = await self._consumed_offsets("links")
        group_offsets = await self._consumed_offsets("groups")
        return RefillOffsets(
            events={
                topic_partition: event_offsets.get(topic_partition.partition, _UNKNOWN_OFFSET)
                for topic_partition in positions
                if topic_partition.topic == "events"
            },
            links={
                topic_partition: link_offsets.get(topic_partition.partition, _UNKNOWN_OFFSET)
                for topic_partition in positions
                if topic_partition.topic == "links"
            },
            touched={
                topic_partition: offset for topic_partition, offset in positions.items() if topic_partition.topic == "touched"
            },
            groups={
                topic_partition: group_offsets.get(topic_partition.partition, _UNKNOWN_OFFSET)
                for topic_partition in positions
                if topic_partition.topic == "groups"
            },
        )

    async def _newest_version(self) -> int:
        """Return the largest label version in either store; the new labels must be newer, or readers would ignore them."""
        # After a loss of Redis only ClickHouse has the versions, and a version whose record was never published only Redis has.
        newest = int((await named_queries.fetch_rows(self._warehouse, "newest_label_version"))[0][0] or 0)
        async for profile_id, data in self._store.scan("members"):
            newest = max(newest, encoding.unpack_members(profile_id, data).version)
        return newest

    async def _write(self, topic_partition: TopicPartition, writes: Writes) -> None:
        """Save writes in parts, with the position 0: the state is not complete before the last part of the last partition."""
        for part in refill.split_writes(writes):
            await self._store.save(topic_partition, (await self._store.checkpoint(topic_partition)).position, _UNKNOWN_OFFSET, part)

    async def _publish(self, rebuilt_identities: RebuiltIdentities, profile_ids: Iterable[str]) -> None:
        """Publish the members of every profile, and touch every profile, which makes its timers and read models again.

        The agents are paused, so this does not wait for them.
        """
        identities_topic = self._settings.topic("identities")
        touched_topic = self._settings.topic("touched")
        now_ms = self._clock.now_ms()
        records = [
            Outgoing(identities_topic, encode(identity_record(name, entry)), key=name.encode())
            for name, entry in rebuilt_identities.members.items()
        ]
        records += [
            Outgoing(
                touched_topic,
                encode(Touched(profile_id=profile_id, node=profile_id, cause="rebuild", at_ms=now_ms)),
                key=profile_id.encode(),
            )
            for profile_id in profile_ids
        ]
        producer = await self._bus.producer()
        try:
            for chunk in chunked(records, refill.CHUNK):
                await producer.send(chunk)
        finally:
            await producer.aclose()


async def _read_profile_history(warehouse: Warehouse, contributions: Iterable[GroupRecord]) -> ProfileHistory:
    """Read what was published about profiles, as ClickHouse has it."""
    profiles = {
        profile_id: Members(tuple(nodes), version, *change)
        for profile_id, version, nodes, *change in await named_queries.fetch_rows(warehouse, "known_profiles")
    }
    evaluated = await named_queries.fetch_rows(warehouse, "evaluated_versions")
    return ProfileHistory(
        labels=dict(await named_queries.fetch_rows(warehouse, "known_labels")),
        profiles=profiles,
        evaluated={profile_id: version for profile_id, version, _ in evaluated},
        shown=frozenset(profile_id for profile_id, _, shown in evaluated if shown),
        contributed=membership_groups_from_records(contributions),
    )
