"""Stream and SQL compared in tests: the pipeline's agents and a real ClickHouse that has consumed all that they said."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ops.segments.verifier import Verifier
from domain.profiles import membership as memberships
from domain.profiles.membership import SegmentState
from profile_store.port import Document, Place, ProfileStore, Writes
from warehouse.client import Warehouse
from runtime.bus.port import Bus, Outgoing, Producer
from runtime.settings import Settings
from schemas.events import Event
from domain.definitions.kinds import Segment
from domain.identity.rules import DEFAULT_RULES
from domain.segments.plan import Plan
from domain.segments.sql import membership
from tests.support.simulated_pipeline import Pipeline
from tests.support.rebuild_world import World

PLACE = Place("touched", 0, 99)


@dataclass
class ToAgents:
    """A broker that is the pipeline's logs. What is sent comes to rest, and ClickHouse has it, before `send` returns, unless the
    agents are `asleep`."""

    verifying: "Verifying"
    asleep: bool = False
    sent: list[Outgoing] = field(default_factory=list)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        logs = self.verifying.pipeline.logs
        return {number: len(logs[topic.partition(".")[2], number]) for number in range(self.verifying.pipeline.partitions)}

    async def producer(self) -> Producer:
        return self

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        self.sent += records
        before = {place: len(log) for place, log in self.verifying.pipeline.logs.items()}
        for record in records:
            self.verifying.pipeline.append(record.topic.partition(".")[2], record.key, record.value)
        placed = [
            (place[1], offset)
            for place, log in self.verifying.pipeline.logs.items()
            for offset in range(before.get(place, 0), len(log))
        ]
        if not self.asleep:
            await self.verifying.settle()
        return placed

    async def aclose(self) -> None:
        return


class Verifying:
    """Events happen, agents run, ClickHouse consumes; `verifier` compares."""

    def __init__(self, settings: Settings, warehouse: Warehouse, segments: Sequence[Segment], **verifier: float) -> None:
        self.world = World(settings, warehouse)
        self.pipeline = Pipeline(random.Random(3), segments)
        self.said: dict[tuple[str, int], int] = {}
        self.plan = Plan(segments)
        self.to = ToAgents(self)

        async def connected() -> Warehouse:
            return warehouse

        self.verifier = Verifier(
            self.pipeline.settings,
            self.pipeline.store,
            connected,
            cast("Bus", self.to),
            self.pipeline.clock,
            lambda: self.plan,
            lambda: DEFAULT_RULES,
            membership,
            **{"pause_s": 0.01, **verifier},  # type: ignore[arg-type]  # numbers of it
        )

    async def happen(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.settle()

    async def settle(self) -> None:
        await self.world.live(self.pipeline, self.said)

    async def tamper(self, profile_id: str, changes: Mapping[str, bool]) -> None:
        """Put other memberships into a profile's document."""
        await tamper(self.pipeline.store, profile_id, changes)


async def tamper(store: ProfileStore, profile_id: str, changes: Mapping[str, bool]) -> None:
    """Put other memberships into a profile's document, as nothing but a fault would."""
    held = (await store.documents("membership", [profile_id]))[profile_id]
    document = memberships.decode(held.data)
    for name, member in changes.items():
        state = document.segments.get(name, SegmentState(False, 0, 0))
        document.segments[name] = SegmentState(member, state.seq + 1, state.since_ms)
    expected = (await store.standing(PLACE)).position
    at = (expected or 0) + 1
    changed = Document(memberships.encode(document), PLACE.name, at)
    refused = await store.save(PLACE, expected, at, Writes(documents={("membership", profile_id): changed}))
    assert not refused
