"""The laws of segments through the real steps: sequences, numbers, computed traits and timers, with crashes and replays."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import build_profile_facts
from domain.profiles.fragment import decode_fragment
from domain.profiles.join import join_fragments
from domain.profiles.membership import decode_membership
from profile_store.port import TopicPartition
from runtime.clock import ManualClock
from schemas.events import Event
from schemas.instants import NEVER
from schemas.records import Touched
from streams.steps.common import touch_record
from tests.support.events import START_MS, event
from tests.support.simulated_pipeline import Pipeline

HOUR_MS = 3_600_000
DEFINITIONS = load_yaml(
    """
apiVersion: onefold/v1
kind: Segment
metadata: {name: abandoned}
spec:
  where:
    sequence:
      first: {event: Cart Updated, within: 24h}
      then_not: {event: Order Completed, within: 2h, same: [cart_id]}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: spender}
spec: {where: {aggregate: {of: sum, event: Order Completed, prop: total, within: 12h, op: gte, value: 100}}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: spent}
spec: {sum: {event: Order Completed, prop: total}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: idle}
spec: {days_since: {event: Order Completed}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: lifecycle}
spec: {lifecycle: {at_risk_after: 6h, lost_after: 24h, loyal_orders: 3}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: vip}
spec: {where: {trait: {path: computed.spent, op: gte, value: 150}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: fading}
spec: {where: {any: [{lifecycle: {stage: [at_risk, lost]}}, {trait: {path: computed.idle, op: gte, value: 2}}]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: win-back}
spec: {where: {all: [{in_segment: fading}, {not: {in_segment: abandoned}}, {did_not: {event: Cart Updated, within: 6h}}]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: regulars}
spec: {where: {regularly: {event: Order Completed, every: 6h, at_least: 2, of: 3}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: trial}
spec: {where: {trait: {path: until, op: within_next, value: 12h}}}
""",
    "test",
)
PLAN = segment_plan_of(DEFINITIONS)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw carts and orders of a few people within two days."""
    events = []
    for number in range(draw(st.integers(1, 20))):
        person, device = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        identifiers = draw(
            st.sampled_from(
                [{"user_id": f"u{person}"}, {"anonymous_id": f"c{device}"}, {"user_id": f"u{person}", "anonymous_id": f"c{device}"}]
            )
        )
        identify = draw(st.integers(0, 5)) == 0
        events.append(
            event(
                identifiers,
                id=f"m{number}",
                type="identify" if identify else "track",
                name="" if identify else draw(st.sampled_from(["Order Completed", "Order Completed", "Cart Updated"])),
                time_ms=START_MS + draw(st.integers(0, 24)) * 2 * HOUR_MS,
                properties={"total": draw(st.sampled_from([10, 50, 99.99])), "cart_id": draw(st.sampled_from(["a", "b"]))},
                traits={"until": "2025-06-17T12:00:00Z"} if identify else {},
            )
        )
    return events


class TimedPipeline(Pipeline):
    """A pipeline that knows the definitions, and whose timers fire when they are due."""

    def __init__(self, rng: random.Random, **more: Any) -> None:
        super().__init__(rng, DEFINITIONS, clock=ManualClock(START_MS), **more)

    async def advance_to(self, at_ms: int) -> None:
        """Let time pass until `at_ms`, and publish the touch of each timer when it is due."""
        await self.drain()
        while (due := await self.due()) and due[0][0] <= at_ms:
            self.clock.advance(max(0, due[0][0] - self.clock.now_ms()))
            for due_ms, name in due:
                if due_ms <= self.clock.now_ms():
                    touch = touch_record(self.settings, Touched(profile_id=name, node=name, cause="timer", at_ms=due_ms))
                    self.append("touched", touch.key, touch.value)
            await self.drain()
        self.clock.advance(at_ms - self.clock.now_ms())

    async def due(self) -> list[tuple[int, str]]:
        """Return the timers that are set, the earliest first."""
        topic_partitions = [TopicPartition("touched", partition, self.partitions) for partition in range(self.partitions)]
        due_timers = [await self.store.due_timers(topic_partition, NEVER, 1_000) for topic_partition in topic_partitions]
        return sorted((due_ms, name) for timers in due_timers for name, due_ms in timers)

    async def run(self, events: Sequence[Event], delay_ms: int) -> None:
        """Feed the events as they arrive, each at most `delay_ms` late, then let two quiet days pass.

        If events may be late, a third of them arrive twice.
        """
        arrivals = [(item.time_ms + self.rng.randint(0, delay_ms), item) for item in events]
        again = self.rng.sample(arrivals, len(arrivals) // 3) if delay_ms else []
        arrivals += [(at_ms + self.rng.randint(0, delay_ms), item) for at_ms, item in again]
        for at_ms, item in sorted(arrivals, key=lambda arrival: arrival[0]):
            await self.advance_to(at_ms)
            self.feed(item)
            if self.rng.random() < 0.2 and (waiting := self.uncommitted()):
                await self.run_zombie_slice(*self.rng.choice(waiting))
        await self.advance_to(START_MS + 100 * HOUR_MS)

    async def agrees(self, nodes: Sequence[str]) -> dict[str, Any]:
        """Check that each profile equals what its fragments give at this instant; return its memberships and computed traits."""
        labels = {node: label.profile_id for node, label in (await self.store.labels(nodes)).items()}
        fragments = {
            node: decode_fragment(document.data)
            for node, document in (await self.store.documents("fragment", nodes)).items()
            if document.data is not None
        }
        profiles = sorted({labels[node] for node in fragments})
        members = await self.store.members(profiles)
        by_profile = {}
        for name, document in (await self.store.documents("membership", profiles)).items():
            membership = decode_membership(document.data)
            parts = [fragments[node] for node in members[name].nodes if node in fragments]
            joined = join_fragments(parts, PLAN.registers, members[name].nodes)
            facts = build_profile_facts(joined, {}, {}, None, name, members[name].nodes)
            computed, verdicts = PLAN.evaluate_all(facts, self.clock.now_ms())
            inside = {segment for segment, verdict in verdicts.items() if verdict.is_member}
            assert {segment for segment, state in membership.segments.items() if state.member} == inside
            assert membership.computed == computed
            by_profile[name] = (inside, computed)
        return by_profile


@given(history=histories(), seed=st.integers(0, 1 << 32), partitions=st.integers(1, 3))
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
async def test_late_repeated_and_replayed_events_give_the_memberships_of_their_set(
    history: list[Event], seed: int, partitions: int
) -> None:
    nodes = sorted({node for item in history for node in item.nodes})
    plain, wild = TimedPipeline(random.Random(0)), TimedPipeline(random.Random(seed), partitions=partitions, crash_rate=0.25)
    await plain.run(history, 0)
    await wild.run(history, 10 * HOUR_MS)
    for at_ms in (plain.clock.now_ms(), plain.clock.now_ms() + 7 * HOUR_MS + 1):
        await plain.advance_to(at_ms)
        await wild.advance_to(at_ms)
        assert await plain.agrees(nodes) == await wild.agrees(nodes)


async def test_timers_alone_change_memberships() -> None:
    """Without such changes the test above would not cover timers."""
    pipeline = TimedPipeline(random.Random(1))
    await pipeline.run([event({"user_id": "u"}, id="m", name="Cart Updated", properties={"cart_id": "a"})], 0)
    changes = [
        (change.segment, change.op, change.cause, change.at_ms - START_MS)
        for change in pipeline.transitions()
        if change.segment == "abandoned"
    ]
    assert changes == [("abandoned", "entered", "timer", 2 * HOUR_MS), ("abandoned", "exited", "timer", 24 * HOUR_MS)]
