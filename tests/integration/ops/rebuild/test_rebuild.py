"""Verify and rebuild: a store in memory against a real ClickHouse."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from ops import definitions_topic as definitions
from ops.rebuild import profile_state as state, identity_state as ties
from ops.prepare import create_topics
from ops.rebuild.rebuild import Rebuild
from ops.rebuild.compare_stores import verify
from domain.profiles import membership as memberships, fragment as model
from profile_store.memory import MemoryStore
from profile_store.port import Document, Place, Writes
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import LABELS, TRANSITIONS
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Record
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.identifiers import star
from schemas.records import Cause, Decided, DecidedKind, Op
from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.kinds import decode as decode_definition
from domain.identity.rules import DEFAULT_RULES, Rules
from domain.segments.plan import Plan
from tests.support.transitions import transition
from tests.support.events import event
from tests.support.identity_histories import check, random_history, run
from tests.support.simulated_pipeline import Pipeline
from tests.support.rebuild_world import World, history

pytestmark = pytest.mark.clickhouse


SEGMENTS = tuple(
    document
    for document in load_yaml(
        """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Order Completed}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: viewers}
spec: {where: {all: [{did: {event: Product Viewed}}, {not: {in_segment: buyers}}]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: undecided}
spec: {where: {sequence: {first: {event: Product Viewed, within: 60d}, then_not: {event: Order Completed, within: 30d}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: young}
spec: {where: {lifecycle: {stage: [first_time, active]}}}
""",
        "test",
    )
    if isinstance(document, Segment)
)


@pytest.fixture
def world(clickhouse_settings: Settings, warehouse: Warehouse) -> World:
    return World(clickhouse_settings, warehouse)


async def test_an_empty_store_is_refilled_and_agrees(world: World) -> None:
    events = history(1)
    await world.tell(events)
    assert not (await verify(world.store, world.warehouse)).agree
    done = await world.rebuild().run()
    assert (await verify(world.store, world.warehouse)).labels_differ > 0
    await world.consume()
    found = await verify(world.store, world.warehouse)
    assert (found.agree, found.torn, found.labels_differ) == (True, 0, 0)
    assert found.evidence_redis == found.evidence_clickhouse
    assert done.after == found.redis != done.before
    assert done.events == len(events)
    touched = await world.touched()
    assert {one.cause for one in touched} == {"rebuild"}
    assert len(touched) == done.profiles == found.profiles_redis
    place = Place("events", 0, world.settings.partitions)
    standing = await world.store.standing(place)
    assert standing.position == (await world.bus.end_offsets(world.settings.topic("events")))[0]
    assert not standing.held


async def test_a_second_rebuild_gives_the_same_state_with_newer_labels(world: World) -> None:
    await world.tell(history(2))
    first = await world.rebuild().run()
    await world.consume()
    cookie = next(one.owner for one in history(2) if len(one.nodes) == 2)
    label = (await world.store.labels([cookie]))[cookie]
    second = await world.rebuild().run()
    assert second.before == second.after == first.after
    renewed = (await world.store.labels([cookie]))[cookie]
    assert renewed.profile_id == label.profile_id
    assert renewed.version > label.version


async def test_what_comes_again_after_a_rebuild_is_refused(world: World) -> None:
    events = history(3)
    await world.tell(events)
    await world.rebuild().run()
    for one in events[:20]:
        number = partition_of(one.owner.encode(), world.settings.partitions)
        place = Place("events", number, world.settings.partitions)
        held = (await world.store.documents("fragment", [one.owner]))[one.owner]
        end = (await world.bus.end_offsets(world.settings.topic("events")))[number]
        assert held.applied(place) == end - 1


async def test_a_store_that_lost_a_fragment_or_tore_a_label_does_not_agree(world: World) -> None:
    await world.tell(history(4))
    await world.rebuild().run()
    await world.consume()
    await world.store.wipe(["label"])
    found = await verify(world.store, world.warehouse)
    assert found.torn > 0
    assert not found.agree
    await world.rebuild().run()
    await world.consume()
    assert (await verify(world.store, world.warehouse)).agree
    fragment = model.Fragment()
    lost = history(4)[0]
    place = Place("links", 0, 1)
    position = (await world.store.standing(place)).position
    await world.store.save(place, position, 0, Writes({("fragment", lost.owner): Document(model.encode(fragment), "x", 1)}))
    assert not (await verify(world.store, world.warehouse)).agree


async def test_a_rebuild_goes_by_the_rules_that_are_live(world: World) -> None:
    document = """{"apiVersion": "onefold/v1", "kind": "IdentityRules", "metadata": {"name": "default"},
        "spec": {"max_members": 4, "namespaces": {"anonymous_id": {"blocked_patterns": ["^cookie-1"], "max_neighbours": 3}}}}"""
    definition = decode_definition(document.encode(), "rules")
    await create_topics(world.settings, world.bus)
    await definitions.write(world.settings, world.bus, [definition])
    rules = state.rules_of(world.settings, await definitions.live(world.settings, world.bus))
    pipeline = Pipeline(
        random.Random(9), partitions=world.settings.partitions, clock=world.clock, outside=world.store, rules=DEFAULT_RULES
    )
    said: dict[tuple[str, int], int] = {}
    for one in history(9):
        pipeline.feed(one)
    await world.live(pipeline, said)
    assert (await verify(world.store, world.warehouse)).agree
    assert not (await verify(world.store, world.warehouse, rules)).agree
    pipeline.rules = rules
    await pipeline.relink()
    await world.live(pipeline, said)
    before = await verify(world.store, world.warehouse, rules)
    assert before.agree
    await world.rebuild().run()
    await world.consume()
    assert await verify(world.store, world.warehouse, rules) == before


class Defined(Rebuild):
    """A rebuild by segments and rules that no definition says."""

    plan, rules = Plan(()), DEFAULT_RULES

    async def _defined(self) -> tuple[Plan, Rules]:
        return self.plan, self.rules


@pytest.mark.parametrize("seed", range(8))
async def test_a_rebuilt_store_equals_the_old_one_after_any_history(world: World, seed: int) -> None:
    history = random_history(seed)
    pipeline = await run(history, SEGMENTS)
    world = World(world.settings.model_copy(update={"partitions": pipeline.partitions}), world.warehouse)
    assert isinstance(pipeline.store, MemoryStore)
    world.store, world.clock = pipeline.store, pipeline.clock
    said: dict[tuple[str, int], int] = {}
    await world.live(pipeline, said)
    plan = Plan(SEGMENTS)
    before = await verify(world.store, world.warehouse, history.rules, plan)
    assert before.agree
    evaluated = await standing_of(world)
    members, transitions = await world.store.members(history.nodes), pipeline.transitions()
    rebuild = Defined(world.settings, world.bus, world.store, world.warehouse, world.clock, still_s=0.02)
    rebuild.plan, rebuild.rules = plan, history.rules
    await rebuild.run()
    await world.consume()
    assert await verify(world.store, world.warehouse, history.rules, plan) == before
    renewed = await world.store.members(history.nodes)
    for name, entry in members.items():
        assert replace(renewed[name], version=entry.version) == entry
    for touched in [one for one in await world.touched() if one.cause == "rebuild"]:
        pipeline.append("touched", touched.profile_id.encode(), encode(touched))
    await pipeline.drain()
    assert pipeline.transitions() == transitions
    assert await standing_of(world) == evaluated
    await check(history, pipeline)


async def standing_of(world: World) -> tuple[dict[str, object], list[tuple[str, int]]]:
    """Every profile's segments and computed traits, when they change by themselves, and the timers."""
    held = {name: memberships.decode(data) async for name, data in world.store.scan("membership")}
    standing: dict[str, object] = {
        name: (one.held(), one.computed, one.due, one.plan) for name, one in held.items() if not one.dissolved_into
    }
    partitions = world.settings.partitions
    timers = [
        timer
        for number in range(partitions)
        for timer in await world.store.due_timers(Place("touched", number, partitions), 1 << 61, 1_000)
    ]
    return standing, timers


async def test_lost_evidence_a_lost_decision_and_a_wrong_label_are_seen(world: World) -> None:
    pipeline = Pipeline(random.Random(8), partitions=world.settings.partitions, clock=world.clock, outside=world.store)
    for one in history(8):
        pipeline.feed(one)
    a, b = sorted(next(one for one in history(8) if len(one.nodes) == 2).nodes)
    pipeline.decide(Decided(operation="o1", action="cut", pairs=(("cut", a, b),), on=True, at_ms=5))
    await world.live(pipeline, {})
    assert (await verify(world.store, world.warehouse)).agree
    kept = await ties.of_redis(world.store)
    place = Place("links", 0, 1)
    position = (await world.store.standing(place)).position
    assert position is not None
    for edges, decisions in ((kept.edges, {}), ({}, kept.decisions)):
        await world.store.wipe(["edges"])
        await world.store.save(place, position, position, Writes(edges=edges, decisions=decisions))
        found = await verify(world.store, world.warehouse)
        assert (found.redis == found.clickhouse, found.agree) == (True, False)
    await world.store.save(place, position, position, Writes(edges=kept.edges, decisions=kept.decisions))
    assert (await verify(world.store, world.warehouse)).agree
    await world.writer.insert(LABELS, [(a, b, 10_000)])
    found = await verify(world.store, world.warehouse)
    assert (found.labels_differ, found.evidence_redis == found.evidence_clickhouse, found.agree) == (1, True, False)


async def test_memberships_keep_their_numbers_and_a_dissolved_profile_what_it_was_in(world: World) -> None:
    joint = event({"anonymous_id": "cookie", "user_id": "u1"}, id="m1")
    root, other = star(joint.nodes)[0]
    await world.tell([joint])
    said: list[tuple[str, Op, int, Cause]] = [
        (root, "entered", 5, "event"),
        (other, "entered", 3, "event"),
        (other, "exited", 4, "merge"),
    ]
    for profile_id, op, seq, cause in said:
        one = transition(profile_id=profile_id, op=op, seq=seq, at_ms=seq, cause=cause)
        await world.writer.insert(TRANSITIONS, rows.transition(Record("t", 0, 0, 0, None, None), one))
    await world.rebuild().run()
    held = {
        name: memberships.decode(document.data)
        for name, document in (await world.store.documents("membership", [root, other])).items()
    }
    assert held[root].segments["vip"] == memberships.SegmentState(member=True, seq=5, since_ms=5)
    assert (held[other].dissolved_into, held[other].formerly) == (root, ("vip",))
    assert (await world.store.members([other]))[other].merged_into == root
    assert {one.profile_id for one in await world.touched()} == {root, other}


async def test_a_rebuild_keeps_merges_and_cuts(world: World) -> None:
    pipeline = Pipeline(random.Random(7), partitions=world.settings.partitions, clock=world.clock, outside=world.store)
    said: dict[tuple[str, int], int] = {}
    events = history(7)
    for one in events:
        pipeline.feed(one)
    await world.live(pipeline, said)
    assert (await verify(world.store, world.warehouse)).agree
    labels = (await state.of_redis(world.store)).labels
    shared = next(one for one in events if len(one.nodes) == 2 and len({labels[node] for node in one.nodes}) == 1)
    a, b = sorted(shared.nodes)
    pairs: tuple[tuple[DecidedKind, str, str], ...] = (("cut", a, b), ("apart", a, b))
    pipeline.decide(
        Decided(operation="o1", action="cut", pairs=pairs, on=True, at_ms=world.clock.now_ms(), by="Ánh", reason="nhầm")
    )
    await world.live(pipeline, said)
    before, kept = await state.of_redis(world.store), await ties.of_redis(world.store)
    changes = await world.warehouse.rows("SELECT * FROM identity_changes ORDER BY ALL")
    verified = await verify(world.store, world.warehouse)
    assert verified.agree
    assert before.labels[a] != before.labels[b]
    assert kept.decisions["cut", a, b].on
    members = await world.store.members(sorted(before.labels))

    done = await world.rebuild().run()
    await world.consume()
    assert done.before == done.after == verified.redis
    assert await verify(world.store, world.warehouse) == verified
    after = await state.of_redis(world.store)
    assert (after.labels, after.members) == (before.labels, before.members)
    again = await ties.of_redis(world.store)
    assert (again.decisions, again.edges.keys()) == (kept.decisions, kept.edges.keys())
    renewed = await world.store.members(sorted(before.labels))
    assert {name: replace(entry, version=0) for name, entry in renewed.items()} == {
        name: replace(entry, version=0) for name, entry in members.items()
    }
    assert await world.warehouse.rows("SELECT * FROM identity_changes ORDER BY ALL") == changes

    later = event({"anonymous_id": "cookie-x"} | dict(shared.identifiers), id="later", time_ms=1_760_000_000_000)
    pipeline.feed(later)
    await world.live(pipeline, said)
    last = await world.store.labels([a, b])
    assert last[a].profile_id != last[b].profile_id
    assert (await verify(world.store, world.warehouse)).agree


async def test_nothing_is_wiped_while_clickhouse_lags(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.tell(history(5))
    await world.rebuild().run()
    await world.consume()
    before = await verify(world.store, world.warehouse)
    place = Place("events", 1, world.settings.partitions)
    position = (await world.store.standing(place)).position
    assert position is not None
    await world.store.save(place, position, position + 5, Writes())
    monkeypatch.setattr("ops.rebuild.rebuild.CATCH_UP_S", 0.1)
    with pytest.raises(Transient, match="nothing was changed"):
        await world.rebuild().run()
    assert (await verify(world.store, world.warehouse)).redis == before.redis
    assert not (await world.store.standing(place)).held


async def test_a_rebuild_waits_for_workers_to_stand_still(world: World) -> None:
    await world.tell(history(6))
    place, moves = Place("touched", 0, world.settings.partitions), 20

    async def worker() -> None:
        for position in range(moves):
            await world.store.save(place, position or None, position + 1, Writes())
            await asyncio.sleep(0.005)

    working = asyncio.create_task(worker())
    rebuild = Rebuild(world.settings, world.bus, world.store, world.warehouse, world.clock, still_s=0.3)
    await rebuild.run()
    with suppress(asyncio.CancelledError):
        await working
    assert (await world.store.standing(place)).position == moves
