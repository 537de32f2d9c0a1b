"""The steps with state over in-memory logs, with every freedom a real run has: slicing, interleaving, crashes, zombies."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.partitioner import murmur2
from pydantic import SecretStr

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.profiles.membership import decode_membership
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Record
from runtime.clock import ManualClock
from runtime.errors import StateLost
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Identity, LinkDecision, Profile, ReclusterRequest, Transition
from streams.step import Step
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.support.events import SECRET


@dataclass
class Pipeline:
    """The simulated pipeline, with `partitions` partitions of every topic but links.

    `rng` decides everything that a real run leaves to chance. `external_store` replaces the pipeline's own store in memory.
    """

    rng: random.Random
    segments: Sequence[AnyDefinition] = ()
    partitions: int = 3
    crash_rate: float = 0.0
    clock: ManualClock = field(default_factory=ManualClock)
    rules: CompiledIdentityRules = DEFAULT_RULES
    external_store: ProfileStore | None = None

    def __post_init__(self) -> None:
        self.settings = Settings(tenant_secret=SecretStr(SECRET.decode()))
        self.store: ProfileStore = self.external_store or MemoryStore(self.clock)
        plan = segment_plan_of(self.segments)
        self.logs: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.committed: dict[tuple[str, int], int] = defaultdict(int)
        self.steps: dict[str, Step] = {
            "events": UnifyStep(self.settings, self.store, lambda: plan, lambda: self.rules),
            "links": LinkStep(self.settings, self.store, lambda: self.rules),
            "touched": SegmentStep(self.settings, self.store, lambda: plan, lambda: self.rules),
            "groups": GroupStep(self.settings, self.store, lambda: plan, lambda: self.rules),
        }

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        count = 1 if topic == "links" else self.partitions
        partition = (murmur2(key) & 0x7FFFFFFF) % count if key is not None else 0
        log = self.logs[topic, partition]
        log.append(Record(self.settings.topic(topic), partition, len(log), self.clock.now_ms(), key, value))

    def feed(self, event: Event) -> None:
        self.append("events", event.key.encode(), encode(event))

    def feed_decision(self, decided: LinkDecision) -> None:
        self.append("links", None, encode(decided))

    async def relink(self) -> None:
        """Ask the link agent to decide every cluster anew, a few nodes at a time, as happens after a change of the rules."""
        nodes = sorted([node async for node, _ in self.store.scan("edges")])
        for start in range(0, len(nodes), 3):
            self.append(
                "links",
                None,
                encode(ReclusterRequest(nodes=tuple(nodes[start : start + 3]), rules_number=self.rules.sequence_number)),
            )
        self.append("links", None, encode(ReclusterRequest(nodes=(), rules_number=self.rules.sequence_number)))

    async def drain(self) -> None:
        """Run slices until every record of the logs is committed."""
        for _ in range(100_000):
            uncommitted = self.uncommitted()
            if not uncommitted:
                return
            await self.run_slice(*self.rng.choice(uncommitted))
        raise AssertionError("the pipeline does not come to rest")

    def uncommitted(self) -> list[tuple[str, int]]:
        """Return the partitions with records that are not committed."""
        return sorted(
            topic_partition
            for topic_partition in self.logs
            if topic_partition[0] in self.steps and self.committed[topic_partition] < len(self.logs[topic_partition])
        )

    async def run_slice(self, topic: str, partition: int, crash_after: int | None = None) -> None:
        """Run one slice, perhaps with a crash between two of its effects (after `crash_after` of them, if given)."""
        log, start = self.logs[topic, partition], self.committed[topic, partition]
        records = log[start : start + self.rng.randint(1, 8)]
        topic_partition = TopicPartition(topic, partition, 1 if topic == "links" else self.partitions)
        outcome = await self.steps[topic].run(topic_partition, records, self.clock.now_ms())
        crash = self.rng.random() < self.crash_rate
        crash_point = crash_after if crash_after is not None else self.rng.randint(0, 3) if crash else 4
        if crash_point == 0:
            return
        position = max(records[-1].offset + 1, outcome.expected or 0)
        refused = await self.store.save(topic_partition, outcome.expected, position, outcome.writes)
        assert not refused
        if crash_point == 1:
            return
        emitted = list(outcome.produce)
        for outgoing in emitted[: self.rng.randint(0, len(emitted))] if crash_point == 2 else emitted:
            self._deliver(outgoing)
        if crash_point == 4:
            self.committed[topic, partition] = records[-1].offset + 1

    async def run_zombie_slice(self, topic: str, partition: int) -> bool:
        """Let a worker decide a slice, another one apply it, and then the first one save.

        Returns whether that late save was refused.
        """
        log, start = self.logs[topic, partition], self.committed[topic, partition]
        records = log[start : start + 5]
        topic_partition = TopicPartition(topic, partition, 1 if topic == "links" else self.partitions)
        late = await self.steps[topic].run(topic_partition, records, self.clock.now_ms())
        await self.run_slice(topic, partition)
        try:
            refused = await self.store.save(topic_partition, late.expected, records[-1].offset + 1, late.writes)
        except StateLost:
            return True
        return set(late.writes.documents) <= set(refused)

    def _deliver(self, outgoing: Outgoing) -> None:
        self.append(outgoing.topic.partition(".")[2], outgoing.key, outgoing.value)

    def transitions(self) -> list[Transition]:
        return [
            decode(Transition, record.value)
            for (topic, _), log in sorted(self.logs.items())
            if topic == "memberships"
            for record in log
        ]

    def profiles(self) -> dict[str, Profile]:
        """Return the profile that was published last under each id."""
        return {
            profile.profile_id: profile
            for (topic, _), log in sorted(self.logs.items())
            if topic == "profiles"
            for profile in (decode(Profile, record.value) for record in log)
        }

    def identities(self) -> dict[str, str]:
        """Return node → profile id as ClickHouse knows it: of all records that name a node, the one with the largest version."""
        records = [
            decode(Identity, record.value) for (topic, _), log in self.logs.items() if topic == "identities" for record in log
        ]
        latest: dict[str, tuple[int, str]] = {}
        for identity in records:
            for node in identity.members:
                latest[node] = max(latest.get(node, (-1, "")), (identity.label_version, identity.profile_id))
        return {node: profile_id for node, (_, profile_id) in latest.items()}

    async def state(self, nodes: Sequence[str]) -> dict[str, object]:
        """Return what must not depend on order: fragments byte for byte, labels, member lists and live memberships."""
        labels = {node: label.profile_id for node, label in (await self.store.labels(nodes)).items()}
        documents = await self.store.documents("fragment", nodes)
        profiles = sorted(set(labels.values()))
        members = await self.store.members(profiles)
        memberships_by_profile = {
            profile_id: sorted(name for name, state in decode_membership(document.data).segments.items() if state.member)
            for profile_id, document in (await self.store.documents("membership", profiles)).items()
        }
        return {
            "fragments": {node: document.data for node, document in documents.items()},
            "labels": labels,
            "members": {profile_id: entry.nodes for profile_id, entry in members.items()},
            "memberships": memberships_by_profile,
        }
