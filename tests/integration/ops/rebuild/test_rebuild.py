"""Verify and rebuild: a store in memory against a real ClickHouse."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from domain.definitions.kinds import Segment, decode_definition, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.profiles import bounds
from domain.profiles.fragment import Fragment, encode_fragment
from domain.profiles.membership import SegmentState, decode_membership
from domain.segments.plan import SegmentPlan
from ops import definitions_topic
from ops.prepare import create_topics
from ops.rebuild.compare_stores import compare_stores
from ops.rebuild.rebuild import Rebuild
from ops.rebuild.store_states import read_identity_from_redis, read_profiles_from_redis
from profile_store.memory import MemoryStore
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Record
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.identifiers import links_from_strongest
from schemas.records import Cause, DecisionKind, LinkDecision, TransitionOp
from tests.support.events import SECRET, event
from tests.support.identity_histories import check_outcome, random_history, run_history
from tests.support.rebuild_world import RebuildWorld, random_events
from tests.support.simulated_pipeline import Pipeline
from tests.support.transitions import transition
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import LABELS, TRANSITIONS

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
def world(clickhouse_settings: Settings, warehouse: Warehouse) -> RebuildWorld:
    return RebuildWorld(clickhouse_settings, warehouse)


async def test_an_empty_store_is_refilled_and_agrees(world: RebuildWorld) -> None:
    events = random_events(1)
    await world.load_events(events)
    assert not (await compare_stores(world.store, world.warehouse, SECRET)).agree
    result = await world.rebuild().run()
    assert (await compare_stores(world.store, world.warehouse, SECRET)).labels_differ > 0
    await world.consume()
    comparison = await compare_stores(world.store, world.warehouse, SECRET)
    assert comparison.agree is True
    assert comparison.torn == 0
    assert comparison.labels_differ == 0
    assert comparison.evidence_redis == comparison.evidence_clickhouse
    assert result.after == comparison.redis != result.before
    assert result.events == len(events)
    touched = await world.touched()
    assert {touch.cause for touch in touched} == {"rebuild"}
    assert len(touched) == result.profiles == comparison.profiles_redis
    topic_partition = TopicPartition("events", 0, world.settings.partitions)
    checkpoint = await world.store.checkpoint(topic_partition)
    assert checkpoint.position == (await world.bus.end_offsets(world.settings.topic("events")))[0]
    assert not checkpoint.paused


async def test_a_second_rebuild_gives_the_same_state_with_newer_labels(world: RebuildWorld) -> None:
    await world.load_events(random_events(2))
    first = await world.rebuild().run()
    await world.consume()
    cookie = next(candidate.owner for candidate in random_events(2) if len(candidate.nodes) == 2)
    label = (await world.store.labels([cookie]))[cookie]
    second = await world.rebuild().run()
    assert second.before == second.after == first.after
    renewed = (await world.store.labels([cookie]))[cookie]
    assert renewed.profile_id == label.profile_id
    assert renewed.version > label.version


async def test_replayed_records_after_a_rebuild_are_refused_as_duplicates(world: RebuildWorld) -> None:
    events = random_events(3)
    await world.load_events(events)
    await world.rebuild().run()
    for past_event in events[:20]:
        number = partition_of(past_event.owner.encode(), world.settings.partitions)
        topic_partition = TopicPartition("events", number, world.settings.partitions)
        fragment_document = (await world.store.documents("fragment", [past_event.owner]))[past_event.owner]
        end = (await world.bus.end_offsets(world.settings.topic("events")))[number]
        assert fragment_document.applied_offset(topic_partition) == end - 1


async def test_verify_detects_a_lost_fragment_or_broken_label(world: RebuildWorld) -> None:
    await world.load_events(random_events(4))
    await world.rebuild().run()
    await world.consume()
    await world.store.wipe(["label"])
    comparison = await compare_stores(world.store, world.warehouse, SECRET)
    assert comparison.torn > 0
    assert not comparison.agree
    await world.rebuild().run()
    await world.consume()
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree
    fragment = Fragment()
    lost = random_events(4)[0]
    topic_partition = TopicPartition("links", 0, 1)
    position = (await world.store.checkpoint(topic_partition)).position
    await world.store.save(
        topic_partition, position, 0, Writes({("fragment", lost.owner): GuardedDocument(encode_fragment(fragment), "x", 1)})
    )
    assert not (await compare_stores(world.store, world.warehouse, SECRET)).agree


async def test_rebuild_uses_the_live_identity_rules(world: RebuildWorld) -> None:
    document = """{"apiVersion": "onefold/v1", "kind": "IdentityRules", "metadata": {"name": "default"},
        "spec": {"max_members": 4, "namespaces": {"anonymous_id": {"blocked_patterns": ["^cookie-1"], "max_neighbours": 3}}}}"""
    definition = decode_definition(document.encode(), "rules")
    await create_topics(world.settings, world.bus)
    await definitions_topic.write(world.settings, world.bus, [definition])
    rules = definitions_topic.identity_rules_of(world.settings, await definitions_topic.read_live(world.settings, world.bus))
    pipeline = Pipeline(
        random.Random(9), partitions=world.settings.partitions, clock=world.clock, external_store=world.store, rules=DEFAULT_RULES
    )
    consumed_offsets: dict[tuple[str, int], int] = {}
    for past_event in random_events(9):
        pipeline.feed(past_event)
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree
    assert not (await compare_stores(world.store, world.warehouse, SECRET, rules)).agree
    pipeline.rules = rules
    await pipeline.relink()
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    before = await compare_stores(world.store, world.warehouse, SECRET, rules)
    assert before.agree
    await world.rebuild().run()
    await world.consume()
    assert await compare_stores(world.store, world.warehouse, SECRET, rules) == before


class RebuildWithDefinitions(Rebuild):
    """A rebuild with given segments and rules instead of those on the definitions topic."""

    plan, rules = SegmentPlan(), DEFAULT_RULES

    async def _live_plan_and_rules(self) -> tuple[SegmentPlan, CompiledIdentityRules]:
        return self.plan, self.rules


@pytest.mark.parametrize(("seed", "limit"), [*((seed, None) for seed in range(8)), (3, 1), (5, 2)])
async def test_a_rebuilt_store_equals_the_old_one_after_any_history(
    world: RebuildWorld, seed: int, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a limit customers name more traits, events and pairs than their fragments have places for.
    for name in ("MAX_TRAITS", "MAX_COUNTERS", "MAX_LINKS") if limit is not None else ():
        monkeypatch.setattr(bounds, name, limit)
    history = random_history(seed)
    pipeline = await run_history(history, SEGMENTS)
    world = RebuildWorld(world.settings.model_copy(update={"partitions": pipeline.partitions}), world.warehouse)
    assert isinstance(pipeline.store, MemoryStore)
    world.store, world.clock = pipeline.store, pipeline.clock
    consumed_offsets: dict[tuple[str, int], int] = {}
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    plan = segment_plan_of(SEGMENTS)
    before = await compare_stores(world.store, world.warehouse, SECRET, history.rules, plan)
    assert before.agree
    evaluated = await checkpoint_of(world)
    members, transitions = await world.store.members(history.nodes), pipeline.transitions()
    rebuild = RebuildWithDefinitions(world.settings, world.bus, world.store, world.warehouse, world.clock, quiet_s=0.02)
    rebuild.plan, rebuild.rules = plan, history.rules
    await rebuild.run()
    await world.consume()
    assert await compare_stores(world.store, world.warehouse, SECRET, history.rules, plan) == before
    renewed = await world.store.members(history.nodes)
    for name, entry in members.items():
        assert replace(renewed[name], version=entry.version) == entry
    for touched in [touch for touch in await world.touched() if touch.cause == "rebuild"]:
        pipeline.append("touched", touched.profile_id.encode(), encode(touched))
    await pipeline.drain()
    assert pipeline.transitions() == transitions
    assert await checkpoint_of(world) == evaluated
    await check_outcome(history, pipeline)


async def checkpoint_of(world: RebuildWorld) -> tuple[dict[str, object], list[tuple[str, int]]]:
    """Return every live profile's segments, computed traits and next changes, and the timers that are set."""
    membership_documents = {name: decode_membership(data) async for name, data in world.store.scan("membership")}
    live_memberships: dict[str, object] = {
        name: (membership.active_segments(), membership.computed, membership.next_change_ms, membership.plan_fingerprint)
        for name, membership in membership_documents.items()
        if not membership.dissolved_into
    }
    partitions = world.settings.partitions
    timers = [
        timer
        for number in range(partitions)
        for timer in await world.store.due_timers(TopicPartition("touched", number, partitions), 1 << 61, 1_000)
    ]
    return live_memberships, timers


async def test_verify_detects_lost_evidence_lost_decision_and_wrong_label(world: RebuildWorld) -> None:
    pipeline = Pipeline(random.Random(8), partitions=world.settings.partitions, clock=world.clock, external_store=world.store)
    for past_event in random_events(8):
        pipeline.feed(past_event)
    a, b = sorted(next(candidate for candidate in random_events(8) if len(candidate.nodes) == 2).nodes)
    pipeline.feed_decision(LinkDecision(operation="o1", action="cut", pairs=(("cut", a, b),), on=True, at_ms=5))
    await world.run_agents_and_consume(pipeline, {})
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree
    identity_before = await read_identity_from_redis(world.store)
    topic_partition = TopicPartition("links", 0, 1)
    position = (await world.store.checkpoint(topic_partition)).position
    assert position is not None
    for edges, decisions in ((identity_before.edges, {}), ({}, identity_before.decisions)):
        await world.store.wipe(["edges"])
        await world.store.save(topic_partition, position, position, Writes(edges=edges, decisions=decisions))
        comparison = await compare_stores(world.store, world.warehouse, SECRET)
        assert (comparison.redis == comparison.clickhouse) is True
        assert comparison.agree is False
    await world.store.save(
        topic_partition, position, position, Writes(edges=identity_before.edges, decisions=identity_before.decisions)
    )
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree
    await world.writer.insert(LABELS, [(a, b, 10_000)])
    comparison = await compare_stores(world.store, world.warehouse, SECRET)
    assert comparison.labels_differ == 1
    assert (comparison.evidence_redis == comparison.evidence_clickhouse) is True
    assert comparison.agree is False


async def test_rebuild_preserves_membership_sequence_numbers_and_dissolved_memberships(world: RebuildWorld) -> None:
    joint = event({"anonymous_id": "cookie", "user_id": "u1"}, id="m1")
    root, other = links_from_strongest(joint.nodes)[0]
    await world.load_events([joint])
    published: list[tuple[str, TransitionOp, int, Cause]] = [
        (root, "entered", 5, "event"),
        (other, "entered", 3, "event"),
        (other, "exited", 4, "merge"),
    ]
    for profile_id, op, seq, cause in published:
        record = transition(profile_id=profile_id, op=op, seq=seq, at_ms=seq, cause=cause)
        await world.writer.insert(TRANSITIONS, rows.transition_rows(Record("t", 0, 0, 0, None, None), record))
    await world.rebuild().run()
    memberships = {
        name: decode_membership(document.data)
        for name, document in (await world.store.documents("membership", [root, other])).items()
    }
    assert memberships[root].segments["vip"] == SegmentState(member=True, seq=5, since_ms=5)
    assert memberships[other].dissolved_into == root
    assert memberships[other].previous_segments == ("vip",)
    assert (await world.store.members([other]))[other].merged_into == root
    assert {touch.profile_id for touch in await world.touched()} == {root, other}


async def test_a_rebuild_keeps_merges_and_cuts(world: RebuildWorld) -> None:
    pipeline = Pipeline(random.Random(7), partitions=world.settings.partitions, clock=world.clock, external_store=world.store)
    consumed_offsets: dict[tuple[str, int], int] = {}
    events = random_events(7)
    for past_event in events:
        pipeline.feed(past_event)
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree
    labels = (await read_profiles_from_redis(world.store)).labels
    shared = next(
        candidate for candidate in events if len(candidate.nodes) == 2 and len({labels[node] for node in candidate.nodes}) == 1
    )
    a, b = sorted(shared.nodes)
    pairs: tuple[tuple[DecisionKind, str, str], ...] = (("cut", a, b), ("apart", a, b))
    pipeline.feed_decision(
        LinkDecision(operation="o1", action="cut", pairs=pairs, on=True, at_ms=world.clock.now_ms(), by="Ánh", reason="nhầm")
    )
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    before, identity_before = await read_profiles_from_redis(world.store), await read_identity_from_redis(world.store)
    changes = await world.warehouse.query("SELECT * FROM identity_changes ORDER BY ALL")
    verified = await compare_stores(world.store, world.warehouse, SECRET)
    assert verified.agree
    assert before.labels[a] != before.labels[b]
    assert identity_before.decisions["cut", a, b].on
    members = await world.store.members(sorted(before.labels))

    result = await world.rebuild().run()
    await world.consume()
    assert result.before == result.after == verified.redis
    assert await compare_stores(world.store, world.warehouse, SECRET) == verified
    after = await read_profiles_from_redis(world.store)
    assert after.labels == before.labels
    assert after.members == before.members
    identity_after = await read_identity_from_redis(world.store)
    assert identity_after.decisions == identity_before.decisions
    assert identity_after.edges.keys() == identity_before.edges.keys()
    renewed = await world.store.members(sorted(before.labels))
    assert {name: replace(entry, version=0) for name, entry in renewed.items()} == {
        name: replace(entry, version=0) for name, entry in members.items()
    }
    assert await world.warehouse.query("SELECT * FROM identity_changes ORDER BY ALL") == changes

    later = event({"anonymous_id": "cookie-x"} | dict(shared.identifiers), id="later", time_ms=1_760_000_000_000)
    pipeline.feed(later)
    await world.run_agents_and_consume(pipeline, consumed_offsets)
    labels_after = await world.store.labels([a, b])
    assert labels_after[a].profile_id != labels_after[b].profile_id
    assert (await compare_stores(world.store, world.warehouse, SECRET)).agree


async def test_nothing_is_wiped_while_clickhouse_lags(world: RebuildWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.load_events(random_events(5))
    await world.rebuild().run()
    await world.consume()
    before = await compare_stores(world.store, world.warehouse, SECRET)
    place = TopicPartition("events", 1, world.settings.partitions)
    position = (await world.store.checkpoint(place)).position
    assert position is not None
    await world.store.save(place, position, position + 5, Writes())
    monkeypatch.setattr("ops.rebuild.rebuild.CATCH_UP_S", 0.1)
    with pytest.raises(Transient, match="nothing was changed"):
        await world.rebuild().run()
    assert (await compare_stores(world.store, world.warehouse, SECRET)).redis == before.redis
    assert not (await world.store.checkpoint(place)).paused


async def test_rebuild_waits_until_workers_are_idle(world: RebuildWorld) -> None:
    await world.load_events(random_events(6))
    place, moves = TopicPartition("touched", 0, world.settings.partitions), 20

    async def worker() -> None:
        for position in range(moves):
            await world.store.save(place, position or None, position + 1, Writes())
            await asyncio.sleep(0.005)

    working = asyncio.create_task(worker())
    rebuild = Rebuild(world.settings, world.bus, world.store, world.warehouse, world.clock, quiet_s=0.3)
    await rebuild.run()
    with suppress(asyncio.CancelledError):
        await working
    assert (await world.store.checkpoint(place)).position == moves
