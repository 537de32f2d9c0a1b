"""Stores are projections, applied: the profile store made anew from ClickHouse. Stream workers wait meanwhile and then go on.

Positions are written last: a rebuild that is cut off leaves a store that says it stands at the beginning, never one that says
it holds what it does not. Workers that notice read the log again, which is harmless; running the rebuild again completes it.
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
    "fragment", "membership", "group", "link_outbox", "backfill_checkpoint", "label", "members", "edges", "timer", "position",
)  # fmt: skip
"""All that a rebuild wipes. Fences stay, so that no worker from before can save. Settled deliveries stay: ClickHouse has none."""
QUIET_S: Final = 2.0
CATCH_UP_S: Final = 120.0
POLL_S: Final = 0.25
_UNKNOWN_OFFSET: Final = 0


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """What was written, and the state hash before and after."""

    events: int
    fragments: int
    profiles: int
    memberships: int
    before: str
    after: str


class Rebuild:
    """One rebuild of the profile store. `quiet_s` is how long positions must stand before the old state is given up."""

    def __init__(
        self, settings: Settings, bus: Bus, store: ProfileStore, warehouse: Warehouse, clock: Clock, *, quiet_s: float = QUIET_S
    ) -> None:
        self._settings, self._bus, self._store, self._warehouse = settings, bus, store, warehouse
        self._clock, self._quiet_s = clock, quiet_s

    async def run(self) -> RebuildResult:
        """Hold the workers, refill the store, let them go on. Raises Transient, before anything was wiped, when stores lag."""
        plan, rules = await self._live_plan_and_rules()
        async with writers_paused(self._store):
            positions = await self._wait_for_quiet_workers()
            await self._wait_for_clickhouse(positions)
            before = state_hash(await read_profiles_from_redis(self._store), plan.registers)
            version, contributions = (
                1 + await self._newest_version(),
                [contribution async for contribution in groups.stream_group_records(self._warehouse)],
            )
            history = await _read_profile_history(self._warehouse, contributions)
            refill_offsets = await self._refill_offsets(positions)
            recomputed = await recompute_from_clickhouse(
                self._warehouse,
                plan,
                rules,
                {topic_partition.partition: offset for topic_partition, offset in refill_offsets.events.items()},
            )
            identities = refill.rebuild_identities(recomputed, history, version, self._clock.now_ms())
            transitions = await named_queries.fetch_rows(self._warehouse, "transitions")
            membership_documents = refill.membership_documents(transitions, identities, history, recomputed, refill_offsets.touched)
            documents = (
                refill.fragment_documents(recomputed, refill_offsets.events),
                membership_documents,
                refill.group_documents(contributions, refill_offsets.groups),
            )
            await self._refill(recomputed, identities, documents, refill_offsets)
            after = state_hash(await read_profiles_from_redis(self._store), plan.registers)
            profiles = recomputed.state.profiles()
            profile_ids = {
                profile_id for partition_documents in membership_documents.values() for _, profile_id in partition_documents
            }
            await self._publish(identities, sorted(profiles.keys() | profile_ids))
        return RebuildResult(recomputed.events, len(recomputed.state.fragments), len(profiles), len(profile_ids), before, after)

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
        """Give the old state up and write the new one, the positions last."""
        definitions_offset = (await self._store.checkpoint(DEFINITIONS_PARTITION)).definitions_offset
        await self._store.wipe(KINDS)
        for by_partition in documents:
            for topic_partition, partition_documents in by_partition.items():
                await self._write(topic_partition, Writes(documents=partition_documents))
        identity_state = recomputed.identity
        for topic_partition in refill_offsets.links:
            writes = Writes(
                labels=identities.labels, members=identities.members, edges=identity_state.edges, decisions=identity_state.decisions
            )
            await self._write(topic_partition, writes)
        for topic_partition, offset in {DEFINITIONS_PARTITION: definitions_offset, **refill_offsets.by_topic_partition()}.items():
            await self._store.save(topic_partition, (await self._store.checkpoint(topic_partition)).position, offset, Writes())

    async def _wait_for_quiet_workers(self) -> dict[TopicPartition, int]:
        """The positions once no worker has moved one for a while: slices in hand when the hold came have ended."""
        topic_partitions = await topic_partitions_of(self._settings, self._bus, "events", "links", "touched", "groups")
        loop = asyncio.get_running_loop()
        positions: dict[TopicPartition, int] = {}
        quiet_since_s, deadline_s = loop.time(), loop.time() + CATCH_UP_S
        while loop.time() < deadline_s:
            current_positions = {
                topic_partition: (await self._store.checkpoint(topic_partition)).position or _UNKNOWN_OFFSET
                for topic_partition in topic_partitions
            }
            if current_positions != positions:
                positions, quiet_since_s = current_positions, loop.time()
            elif loop.time() - quiet_since_s >= self._quiet_s:
                return positions
            await asyncio.sleep(min(POLL_S, self._quiet_s))
        raise Transient("the stream workers do not stand still: is one of them older than this command? nothing was changed")

    async def _wait_for_clickhouse(self, positions: Mapping[TopicPartition, int]) -> None:
        """Wait until ClickHouse has all that the store has seen, and all that was said of profiles."""
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
        """What the refilled state stands for: ClickHouse's positions; where the segment agent stood stays."""
        event_offsets, link_offsets, group_offsets = (
            await self._consumed_offsets("events"),
            await self._consumed_offsets("links"),
            await self._consumed_offsets("groups"),
        )
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
        """The largest label version that either store has seen: the new one must win over all of them."""
        newest = int((await named_queries.fetch_rows(self._warehouse, "labels"))[0][0] or 0)
        async for profile_id, data in self._store.scan("members"):
            newest = max(newest, encoding.unpack_members(profile_id, data).version)
        return newest

    async def _write(self, topic_partition: TopicPartition, writes: Writes) -> None:
        for part in refill.split_writes(writes):
            await self._store.save(topic_partition, (await self._store.checkpoint(topic_partition)).position, _UNKNOWN_OFFSET, part)

    async def _publish(self, rebuilt_identities: RebuiltIdentities, profile_ids: Iterable[str]) -> None:
        """Tell ClickHouse who the profiles consist of, and have them evaluated: timers and read models come anew by that."""
        identities_topic, touched_topic, now_ms = (
            self._settings.topic("identities"),
            self._settings.topic("touched"),
            self._clock.now_ms(),
        )
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
            for start in range(0, len(records), refill.CHUNK):
                await producer.send(records[start : start + refill.CHUNK])
        finally:
            await producer.aclose()


async def _read_profile_history(warehouse: Warehouse, contributions: Iterable[GroupRecord]) -> ProfileHistory:
    profiles = {
        profile_id: Members(tuple(nodes), version, *change)
        for profile_id, version, nodes, *change in await named_queries.fetch_rows(warehouse, "known_profiles")
    }
    evaluated = await named_queries.fetch_rows(warehouse, "evaluated")
    return ProfileHistory(
        labels=dict(await named_queries.fetch_rows(warehouse, "known_labels")),
        profiles=profiles,
        evaluated={profile_id: version for profile_id, version, _ in evaluated},
        shown=frozenset(profile_id for profile_id, _, shown in evaluated if shown),
        contributed=membership_groups_from_records(contributions),
    )
