"""Compares stream and SQL in tests: the pipeline's agents, and a real ClickHouse that has consumed all of their output."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES
from domain.profiles.membership import SegmentState, decode_membership, encode_membership
from domain.segments.sql.compile import membership_query
from ops.segments.verifier import SegmentVerifier
from profile_store.port import GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.port import Bus, Outgoing, Producer
from runtime.settings import Settings
from schemas.events import Event
from tests.support.rebuild_world import RebuildWorld
from tests.support.simulated_pipeline import Pipeline
from warehouse.client import Warehouse

TOPIC_PARTITION = TopicPartition("touched", 0, 99)


@dataclass
class PipelineBus:
    """A broker over the pipeline's logs.

    Before `send` returns, the pipeline has processed the records and ClickHouse has them, unless the agents are `agents_paused`.
    """

    verify_world: "VerifyWorld"
    agents_paused: bool = False
    sent: list[Outgoing] = field(default_factory=list)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        logs = self.verify_world.pipeline.logs
        return {number: len(logs[topic.partition(".")[2], number]) for number in range(self.verify_world.pipeline.partitions)}

    async def producer(self) -> Producer:
        return self

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        self.sent += records
        before = {topic_partition: len(log) for topic_partition, log in self.verify_world.pipeline.logs.items()}
        for record in records:
            self.verify_world.pipeline.append(record.topic.partition(".")[2], record.key, record.value)
        placed = [
            (place[1], offset)
            for place, log in self.verify_world.pipeline.logs.items()
            for offset in range(before.get(place, 0), len(log))
        ]
        if not self.agents_paused:
            await self.verify_world.settle()
        return placed

    async def aclose(self) -> None:
        return


class VerifyWorld:
    """A pipeline whose events are processed and consumed into ClickHouse; `verifier` compares the two."""

    def __init__(self, settings: Settings, warehouse: Warehouse, segments: Sequence[AnyDefinition], **verifier: float) -> None:
        self.rebuild_world = RebuildWorld(settings, warehouse)
        self.pipeline = Pipeline(random.Random(3), segments)
        self.published_counts: dict[tuple[str, int], int] = {}
        self.plan = segment_plan_of(segments)
        self.pipeline_bus = PipelineBus(self)

        async def connected() -> Warehouse:
            return warehouse

        self.verifier = SegmentVerifier(
            self.pipeline.settings,
            self.pipeline.store,
            connected,
            cast("Bus", self.pipeline_bus),
            self.pipeline.clock,
            lambda: self.plan,
            lambda: DEFAULT_RULES,
            membership_query,
            **{"pause_s": 0.01, **verifier},  # type: ignore[arg-type]  # numbers of it
        )

    async def process_events(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.settle()

    async def settle(self) -> None:
        await self.rebuild_world.run_agents_and_consume(self.pipeline, self.published_counts)

    async def tamper(self, profile_id: str, changes: Mapping[str, bool]) -> None:
        """Put other memberships into a profile's document."""
        await tamper(self.pipeline.store, profile_id, changes)


async def tamper(
    store: ProfileStore, profile_id: str, changes: Mapping[str, bool], computed: Mapping[str, Any] | None = None
) -> None:
    """Put other memberships and computed traits into a profile's document, as nothing but a fault would; None removes a value."""
    stored = (await store.documents("membership", [profile_id]))[profile_id]
    document = decode_membership(stored.data)
    for name, member in changes.items():
        state = document.segments.get(name, SegmentState(False, 0, 0))
        document.segments[name] = SegmentState(member, state.seq + 1, state.since_ms)
    values = document.computed | dict(computed or {})
    document.computed = {name: value for name, value in values.items() if value is not None}
    expected = (await store.checkpoint(TOPIC_PARTITION)).position
    at = (expected or 0) + 1
    changed = GuardedDocument(encode_membership(document), TOPIC_PARTITION.guard_name, at)
    refused = await store.save(TOPIC_PARTITION, expected, at, Writes(documents={("membership", profile_id): changed}))
    assert not refused
