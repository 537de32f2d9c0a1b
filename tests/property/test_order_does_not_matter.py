"""Order does not matter: the state is a function of the set of events. Random orders, duplicates, slicings and crashes."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import Segment, load_yaml
from schemas.events import Event, EventType
from tests.support.events import START_MS, event
from tests.support.rounds import rounds
from tests.support.simulated_pipeline import Pipeline

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Order Completed, at_least: 2, within: 1h}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: hanoi}
spec: {where: {trait: {path: city, value: Hà Nội}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: hanoi-buyers}
spec: {where: {all: [{in_segment: buyers}, {in_segment: hanoi}, {not: {did: {event: Order Refunded}}}]}}
"""
SEGMENTS = [document for document in load_yaml(DEFINITIONS, "test") if isinstance(document, Segment)]

PEOPLE = st.integers(0, 3)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw events of a few people on a few devices, some of which are shared."""
    events = []
    for number in range(draw(st.integers(1, 25))):
        person, device = draw(PEOPLE), draw(st.integers(0, 4))
        shape = draw(st.sampled_from(["anonymous", "login", "order", "call", "trait"]))
        identifiers = {
            "anonymous": {"anonymous_id": f"cookie-{device}"},
            "login": {"anonymous_id": f"cookie-{device}", "user_id": f"user-{person}"},
            "order": {"user_id": f"user-{person}"} if draw(st.booleans()) else {"anonymous_id": f"cookie-{device}"},
            "call": {"phone": f"+8490000000{person}"},
            "trait": {"user_id": f"user-{person}", "phone": f"+8490000000{draw(PEOPLE)}"},
        }[shape]
        events.append(
            event(
                identifiers,
                id=f"m{number}",
                name=draw(st.sampled_from(["Order Completed", "Order Refunded", "Product Viewed"])),
                type="identify" if shape == "trait" else "track",
                time_ms=START_MS + draw(st.integers(0, 5)) * 40_000_000,
                traits={"city": draw(st.sampled_from(["Hà Nội", "Đà Nẵng"]))} if shape == "trait" else {},
            )
        )
    return events


async def final_state(events: Sequence[Event], pipeline: Pipeline, nodes: Sequence[str]) -> dict[str, object]:
    pipeline.clock.advance(400_000_000)
    for item in events:
        pipeline.feed(item)
        if pipeline.rng.random() < 0.3:
            await pipeline.drain()
    await pipeline.drain()
    return await pipeline.state(nodes)


@given(history=histories(), seed=st.integers(0, 1 << 32), partitions=st.integers(1, 4))
@settings(max_examples=rounds(quick=100, thorough=400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_order_duplication_slicing_and_crash_gives_the_same_state(
    history: list[Event], seed: int, partitions: int
) -> None:
    rng = random.Random(seed)
    nodes = sorted({node for item in history for node in item.nodes})
    plain = await final_state(history, Pipeline(random.Random(0), SEGMENTS), nodes)
    shuffled = [*history, *rng.choices(history, k=rng.randint(0, len(history)))]
    rng.shuffle(shuffled)
    wild = await final_state(shuffled, Pipeline(rng, SEGMENTS, partitions=partitions, crash_rate=0.3), nodes)
    assert wild == plain


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(max_examples=rounds(quick=100, thorough=400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_emitted_transitions_alternate_and_end_in_the_stored_state(history: list[Event], seed: int) -> None:
    pipeline = Pipeline(random.Random(seed), SEGMENTS, crash_rate=0.3)
    nodes = sorted({node for item in history for node in item.nodes})
    state = await final_state(history, pipeline, nodes)
    ops_by_membership: dict[tuple[str, str], dict[int, str]] = {}
    for transition in pipeline.transitions():
        op_by_number = ops_by_membership.setdefault((transition.profile_id, transition.segment), {})
        assert op_by_number.setdefault(transition.seq, transition.op) == transition.op
    for op_by_number in ops_by_membership.values():
        ops = [op_by_number[seq] for seq in sorted(op_by_number)]
        assert ops == ["entered" if i % 2 == 0 else "exited" for i in range(len(ops))]
    members = {key for key, op_by_number in ops_by_membership.items() if op_by_number[max(op_by_number)] == "entered"}
    memberships = state["memberships"]
    assert isinstance(memberships, dict)
    assert members == {(profile_id, name) for profile_id, names in memberships.items() for name in names}


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(max_examples=rounds(quick=100, thorough=300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_emitted_profiles_equal_stored_profiles(history: list[Event], seed: int) -> None:
    pipeline = Pipeline(random.Random(seed), SEGMENTS, crash_rate=0.4)
    nodes = sorted({node for item in history for node in item.nodes})
    await final_state(history, pipeline, nodes)
    labels = {node: label.profile_id for node, label in (await pipeline.store.labels(nodes)).items()}
    emitted = pipeline.profiles()
    live = {profile_id: profile for profile_id, profile in emitted.items() if not profile.merged_into}
    assert {profile.profile_id for profile in live.values()} == {labels[item.owner] for item in history}
    assert all(labels[member] == profile_id for profile_id, profile in live.items() for member in profile.members)


async def test_a_crash_after_a_merge_is_saved_still_dissolves_the_old_profile() -> None:
    pipeline = Pipeline(random.Random(3), SEGMENTS, partitions=1)
    orders = [event({"anonymous_id": "c1"}, id=f"o{n}", name="Order Completed", time_ms=pipeline.clock.now_ms()) for n in range(2)]
    for order in orders:
        pipeline.feed(order)
    await pipeline.drain()
    pipeline.feed(event({"anonymous_id": "c1", "user_id": "u1"}, id="login", name="Signed In", time_ms=pipeline.clock.now_ms()))
    await pipeline.run_slice("events", 0)
    while pipeline.committed["touched", 0] < len(pipeline.logs["touched", 0]):
        await pipeline.run_slice("touched", 0)
    await pipeline.run_slice("links", 0, crash_after=1)
    await pipeline.drain()
    assert pipeline.profiles()[orders[0].owner].merged_into != ""
    ops = [(change.op, change.cause) for change in pipeline.transitions() if change.profile_id == orders[0].owner]
    assert ops == [("entered", "event"), ("exited", "merge")]


async def test_transitions_survive_a_second_crash_on_top_of_the_first() -> None:
    pipeline = Pipeline(random.Random(5), SEGMENTS, partitions=1)

    async def feed(identifier: str, name: str, city: str = "") -> None:
        kind: EventType = "identify" if city else "track"
        now_ms = pipeline.clock.now_ms()
        pipeline.feed(
            event({"user_id": "u1"}, id=identifier, name=name, type=kind, time_ms=now_ms, traits={"city": city} if city else {})
        )
        while pipeline.committed["events", 0] < len(pipeline.logs["events", 0]):
            await pipeline.run_slice("events", 0)

    await feed("m1", "", "Hà Nội")
    await pipeline.run_slice("touched", 0, crash_after=1)
    await feed("m2", "Order Completed")
    await feed("m3", "Order Completed")
    owner = event({"user_id": "u1"}, id="any").owner
    while memberships_of(await pipeline.state([owner])) != ["buyers", "hanoi", "hanoi-buyers"]:
        await pipeline.run_slice("touched", 0, crash_after=1)
    await pipeline.drain()
    assert {change.segment for change in pipeline.transitions()} == {"buyers", "hanoi", "hanoi-buyers"}


def memberships_of(state: dict[str, object]) -> object:
    memberships = state["memberships"]
    assert isinstance(memberships, dict)
    return next(iter(memberships.values()))


@pytest.mark.parametrize("topic", ["events", "links", "touched"])
async def test_a_zombie_that_writes_late_is_refused(topic: str) -> None:
    pipeline = Pipeline(random.Random(7), SEGMENTS, partitions=1)
    for number in range(5):
        pipeline.feed(event({"anonymous_id": "c1", "user_id": f"user-{number % 2}"}, id=f"m{number}", name="Order Completed"))
    if topic != "events":
        await pipeline.run_slice("events", 0)
    if topic == "touched":
        await pipeline.run_slice("links", 0)
    assert await pipeline.run_zombie_slice(topic, 0)
