"""Identity is a function of the set of events, decisions and rules: random histories against an independent computation."""

import dataclasses
import os
import random
from collections.abc import Sequence

import pytest

from domain.definitions.kinds import Segment, load_yaml
from domain.identity import clusters
from domain.identity.rules import CompiledIdentityRules, IdentityRulesSpec, NamespaceRules
from domain.profiles import bounds
from profile_store.link_state import LINKS_PARTITION, load_link_state
from profile_store.port import TopicPartition
from runtime.bus.port import Outgoing
from schemas.identifiers import node
from schemas.instants import DAY_MS
from schemas.records import LinkDecision
from streams import reclustering
from streams.reclustering import Reclusterer
from tests.support.events import SECRET, event
from tests.support.identity_histories import CROWDED_AT, check_outcome, random_history, run_history
from tests.support.rounds import rounds
from tests.support.simulated_pipeline import Pipeline

ROUNDS = int(os.environ.get("ONEFOLD_LAWS_ROUNDS", "1"))
FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
BLOCK = 500


SEGMENTS = [
    document
    for document in load_yaml(
        """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Order Completed, at_least: 2}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: hanoi}
spec: {where: {trait: {path: city, value: Hà Nội}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: lookers}
spec: {where: {all: [{did: {event: Product Viewed}}, {not: {in_segment: buyers}}]}}
""",
        "test",
    )
    if isinstance(document, Segment)
]


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_NEIGHBOURS", CROWDED_AT)


@pytest.mark.parametrize("block", range(rounds(quick=4, thorough=20) * ROUNDS))
async def test_clusters_profiles_and_warehouse_rows_follow_from_the_set_of_evidence(block: int) -> None:
    for seed in range(FIRST + block * BLOCK, FIRST + (block + 1) * BLOCK):
        history = random_history(seed)
        try:
            await check_outcome(history, await run_history(history))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


async def test_customers_who_name_more_than_is_kept_follow_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_TRAITS", "MAX_COUNTERS", "MAX_LINKS"):
        monkeypatch.setattr(bounds, name, 1)
    for seed in range(FIRST, FIRST + rounds(quick=150, thorough=BLOCK) * ROUNDS):
        history = random_history(seed)
        try:
            await check_outcome(history, await run_history(history))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


async def test_identifiers_of_ones_own_follow_the_law_also_while_rules_declare_and_drop_their_namespace() -> None:
    for seed in range(FIRST, FIRST + rounds(quick=200, thorough=BLOCK) * ROUNDS):
        history = random_history(seed, cards=True)
        try:
            await check_outcome(history, await run_history(history))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


async def test_transitions_alternate_through_merges_and_splits_and_end_in_the_state() -> None:
    for seed in range(FIRST, FIRST + rounds(quick=100, thorough=BLOCK) * ROUNDS):
        history = random_history(seed)
        pipeline = await run_history(history, SEGMENTS)
        ops_by_membership: dict[tuple[str, str], dict[int, str]] = {}
        for transition in pipeline.transitions():
            ops = ops_by_membership.setdefault((transition.profile_id, transition.segment), {})
            assert ops.setdefault(transition.seq, transition.op) == transition.op, f"seed {seed}"
        for ops in ops_by_membership.values():
            assert [ops[seq] for seq in sorted(ops)] == [("entered", "exited")[n % 2] for n in range(len(ops))], f"seed {seed}"
        state = await pipeline.state(history.nodes)
        memberships = state["memberships"]
        assert isinstance(memberships, dict)
        inside = {key for key, ops in ops_by_membership.items() if ops[max(ops)] == "entered"}
        assert inside == {(profile_id, name) for profile_id, names in memberships.items() for name in names}, f"seed {seed}"
        plain = await run_history(dataclasses.replace(history, seed=seed + 1_000_000), SEGMENTS)
        assert await plain.state(history.nodes) == state, f"seed {seed}"


async def test_split_off_profile_does_not_reenter_shared_segments() -> None:
    pipeline = Pipeline(random.Random(1), SEGMENTS, partitions=1)
    pipeline.clock.advance(DAY_MS)
    orders = [event({"user_id": "u1"}, id=f"o{n}", name="Order Completed", time_ms=pipeline.clock.now_ms()) for n in range(2)]
    cookie = [event({"anonymous_id": "c"}, id=f"c{n}", name="Order Completed", time_ms=pipeline.clock.now_ms()) for n in range(2)]
    link = event({"user_id": "u1", "anonymous_id": "c"}, id="link", name="Signed In", time_ms=pipeline.clock.now_ms())
    for item in (*orders, link, *cookie):
        pipeline.feed(item)
        await pipeline.drain()
    user, device = sorted(link.nodes)
    before = len(pipeline.transitions())
    pipeline.feed_decision(LinkDecision(operation="op", action="cut", pairs=(("cut", user, device),), on=True, at_ms=1))
    await pipeline.drain()
    new = [(change.profile_id, change.op, change.cause) for change in pipeline.transitions()[before:]]
    assert new == [(device, "entered", "split")]
    profiles = pipeline.profiles()
    assert profiles[device].split_from == user
    assert profiles[device].merged_into == ""
    pipeline.feed_decision(
        LinkDecision(operation="undo", action="undo", pairs=(("cut", user, device),), on=False, at_ms=2, of="op")
    )
    await pipeline.drain()
    assert [(change.op, change.cause) for change in pipeline.transitions()[before + 1 :]] == [("exited", "merge")]
    assert pipeline.profiles()[device].merged_into == user


async def test_a_value_that_many_users_share_joins_none_of_them() -> None:
    pipeline = Pipeline(random.Random(2), partitions=2)
    for number in range(40):
        pipeline.feed(event({"user_id": f"u{number}", "email": "test@tiemnang.vn"}, id=f"m{number}", type="identify"))
    await pipeline.drain()
    live = [profile for profile in pipeline.profiles().values() if profile.members]
    assert sorted(len(profile.members) for profile in live) == [1] * 40
    assert all(dict(profile.identifiers).keys() == {"user_id"} for profile in live)


async def test_a_call_reaches_the_customer_at_once_and_a_change_of_rules_takes_it_back() -> None:
    pipeline, number = Pipeline(random.Random(4), partitions=2), "+84912345678"
    pipeline.feed(event({"user_id": "KH-1", "phone": number}, id="p", type="identify", traits={"name": "Trần Thị Hoa"}))
    pipeline.feed(event({"caller_number": number}, id="c", type="call_ended"))
    await pipeline.drain()
    customer, caller = node(SECRET, ("user_id", "KH-1")), node(SECRET, ("caller_number", number))
    assert pipeline.profiles()[customer].counters == {"$identify": 1, "$call_ended": 1}
    for switch, profile_id in ((False, caller), (True, customer)):
        pipeline.rules = CompiledIdentityRules.from_spec(
            IdentityRulesSpec(same_number=switch), secret=SECRET, country="VN", sequence_number=pipeline.rules.sequence_number + 1
        )
        await pipeline.relink()
        await pipeline.drain()
        assert (await pipeline.store.labels([caller]))[caller].profile_id == profile_id
        assert pipeline.profiles()[profile_id].counters["$call_ended"] == 1


async def test_changed_rules_reach_every_cluster_a_few_at_a_time() -> None:
    pipeline = Pipeline(random.Random(3), partitions=2)
    for number in range(30):
        pipeline.feed(event({"user_id": f"u{number}", "phone": f"+84900000{number:03d}"}, id=f"m{number}", type="identify"))
    await pipeline.drain()
    spec = IdentityRulesSpec(namespaces={"phone": NamespaceRules(blocked_patterns=("^.84900000.*$",))})
    pipeline.rules = CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN", sequence_number=7)
    link_partition = TopicPartition("links", 0, 1)
    reclusterer = Reclusterer(
        pipeline.settings,
        store=pipeline.store,
        producer=InPipeline(pipeline),
        rules=lambda: pipeline.rules,
        assigned_partitions=lambda: [link_partition],
    )
    assert await reclusterer.run_round(link_partition)
    await pipeline.drain()
    live = [profile for profile in pipeline.profiles().values() if profile.members]
    assert sorted(len(profile.members) for profile in live) == [1] * 30
    count = len(pipeline.logs["links", 0])
    assert await reclusterer.run_round(link_partition)
    assert len(pipeline.logs["links", 0]) == count


async def test_a_round_tells_how_far_it_is_and_ends_with_its_last_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # With one node in each chunk, most chunks have no node to ask for: none of them may end the round.
    monkeypatch.setattr(reclustering, "CHUNK_NODES", 1)
    pipeline = Pipeline(random.Random(3), partitions=2)
    for number in range(4):
        pipeline.feed(event({"user_id": f"u{number}", "phone": f"+84900000{number:03d}"}, id=f"m{number}", type="identify"))
    await pipeline.drain()
    pipeline.rules = dataclasses.replace(pipeline.rules, sequence_number=7)
    states: list[tuple[int, int, int]] = []

    class Watched(InPipeline):
        async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
            written = await super().send(records)
            state = await load_link_state(pipeline.store)
            states.append((state.rules, state.round_resolved, state.round_nodes))
            return written

    reclusterer = Reclusterer(
        pipeline.settings,
        store=pipeline.store,
        producer=Watched(pipeline),
        rules=lambda: pipeline.rules,
        assigned_partitions=lambda: [LINKS_PARTITION],
    )
    assert await reclusterer.run_round(LINKS_PARTITION)
    *under_way, last = states
    assert len(under_way) == 4
    assert all(rules == 0 and nodes == 8 for rules, _, nodes in under_way)
    assert [resolved for _, resolved, _ in under_way] == sorted({resolved for _, resolved, _ in under_way})
    assert last == (7, 0, 0)


class InPipeline:
    """A producer whose `send` returns once the pipeline's agents have processed the records."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        for outgoing in records:
            self._pipeline.append(outgoing.topic.partition(".")[2], outgoing.key, outgoing.value)
        await self._pipeline.drain()
        return [(0, len(self._pipeline.logs["links", 0]) - 1) for _ in records]

    async def aclose(self) -> None:
        return
