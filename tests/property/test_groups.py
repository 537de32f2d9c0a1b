"""Accounts and households are a function of the set of events, and show nothing of a person but what is shared."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import GroupDocument, build_profile_facts, decode_group, documents_from_records, profile_contributions
from domain.identity.households import group_id
from domain.identity.rules import CompiledIdentityRules, HouseholdRules
from domain.profiles.fragment import account_of_group_call, decode_fragment
from domain.profiles.join import join_fragments
from domain.profiles.membership import decode_membership
from schemas.codec import decode
from schemas.events import Event
from schemas.hashes import message_hash
from schemas.records import GroupRecord, TraitValue
from tests.support.events import START_MS, event
from tests.support.rounds import rounds
from tests.support.simulated_pipeline import Pipeline

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: enterprise}
spec: {where: {account: {trait: {path: plan, value: enterprise}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: team}
spec: {where: {account: {members: {at_least: 2}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: big-home}
spec: {where: {household: {members: {at_least: 3}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: hanoi-home}
spec: {where: {household: {trait: {path: city, value: Hà Nội}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: buying-home}
spec: {where: {household: {did: {event: Order Completed, at_least: 2}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: alone}
spec: {where: {not: {household: {members: {at_least: 2}}}}}
"""
SEGMENTS = [document for document in load_yaml(DEFINITIONS, "test") if isinstance(document, Segment)]
PLAN = segment_plan_of(SEGMENTS)
RULE = HouseholdRules(
    id_trait="household_id",
    address_trait="address",
    landline=True,
    shared_phone=True,
    shared_traits=("city", "floor"),
    max_members=3,
)
RULES = CompiledIdentityRules(household=RULE)
PRIVATE = "điều riêng tư"
ADDRESSES = ["12 Trần Hưng Đạo, P.5, Huế", "12 tran hung dao phuong 5, thanh pho hue", {"street": "9 Lê Lợi", "city": "Hà Nội"}]
PHONES = ["+842838221234", "+84901234567", "+84901234568"]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw events of a few people who share devices, numbers, addresses and accounts."""
    events = []
    for number in range(draw(st.integers(1, 22))):
        person, device = draw(st.integers(0, 4)), draw(st.integers(0, 2))
        shape = draw(st.sampled_from(["anonymous", "login", "order", "call", "trait", "trait", "group", "group"]))
        identifiers = {
            "anonymous": {"anonymous_id": f"cookie-{device}"},
            "login": {"anonymous_id": f"cookie-{device}", "user_id": f"user-{person}"},
            "order": {"user_id": f"user-{person}"},
            "call": {"phone": draw(st.sampled_from(PHONES))},
            "trait": {"user_id": f"user-{person}"} | ({"phone": draw(st.sampled_from(PHONES))} if draw(st.booleans()) else {}),
            "group": {"user_id": f"user-{person}"} if draw(st.booleans()) else {"anonymous_id": f"cookie-{device}"},
        }[shape]
        events.append(
            event(
                identifiers,
                id=f"m{number}",
                name=draw(st.sampled_from(["Order Completed", PRIVATE])) if shape not in ("trait", "group") else "",
                type="identify" if shape == "trait" else "group" if shape == "group" else "track",
                time_ms=START_MS + draw(st.integers(0, 5)) * 40_000_000,
                properties={"groupId": draw(st.sampled_from(["Công ty A", "b"]))} if shape == "group" else {},
                traits=draw(TRAITS) if shape == "trait" else draw(ACCOUNT_TRAITS) if shape == "group" else {},
            )
        )
    return events


TRAITS = st.fixed_dictionaries(
    {"secret": st.just(PRIVATE)},
    optional={
        "address": st.sampled_from(ADDRESSES),
        "city": st.sampled_from(["Hà Nội", "Huế", None]),
        "household_id": st.sampled_from(["nhà 1", "nhà 2", None]),
    },
)
ACCOUNT_TRAITS = st.dictionaries(st.sampled_from(["plan", "seats"]), st.sampled_from(["enterprise", "free", None]), max_size=2)


async def run(history: Sequence[Event], pipeline: Pipeline) -> None:
    pipeline.clock.advance(400_000_000)
    for item in history:
        pipeline.feed(item)
        if pipeline.rng.random() < 0.3:
            await pipeline.drain()
    await pipeline.drain()


async def stored(pipeline: Pipeline) -> dict[str, GroupDocument]:
    return {name: decode_group(data) async for name, data in pipeline.store.scan("group")}


def shape(documents: dict[str, GroupDocument]) -> dict[str, Any]:
    """Return the part of the documents that must not depend on order: all but the records' numbers and the former members."""
    return {
        name: (group.name, group.traits, {who: (c.traits, c.counters) for who, c in group.contributions.items() if c.present})
        for name, group in documents.items()
        if group.members() or group.traits
    }


async def expected_groups(history: Sequence[Event], pipeline: Pipeline) -> tuple[dict[str, GroupDocument], dict[str, list[str]]]:
    """Compute the documents and memberships by definition, from the final profiles and from all events about accounts."""
    secret = pipeline.settings.tenant_key
    nodes = sorted({node for item in history for node in item.nodes})
    labels = {node: label.profile_id for node, label in (await pipeline.store.labels(nodes)).items()}
    fragments = {node: decode_fragment(d.data) for node, d in (await pipeline.store.documents("fragment", nodes)).items() if d.data}
    records: list[GroupRecord] = []
    joined, contributes = {}, {}
    for profile_id in sorted({labels[item.owner] for item in history}):
        members = [node for node in nodes if labels[node] == profile_id]
        joined[profile_id] = join_fragments(
            (fragments[node] for node in members if node in fragments), PLAN.registers, members, PLAN.retained
        )
        contributes[profile_id] = profile_contributions(joined[profile_id], profile_id, PLAN, RULE, secret)
        records += contributes[profile_id].values()
    for item in {(item.owner, item.id): item for item in history}.values():
        name = account_of_group_call(item)
        if name is not None:
            message = message_hash(item.owner, item.id)
            registers = {key: TraitValue(value, item.time_ms, message, item.trusted) for key, value in item.traits.items()}
            account = group_id(secret, "account", name)
            records.append(GroupRecord(group_id=account, kind="account", name=name, traits=registers))
    documents = documents_from_records(records)
    memberships = {}
    for profile_id, profile in joined.items():
        facts = build_profile_facts(profile, contributes[profile_id], documents, RULE, profile_id, ())
        memberships[profile_id] = sorted(
            name for name, verdict in PLAN.evaluate(facts, pipeline.clock.now_ms()).items() if verdict.is_member
        )
    return documents, memberships


async def memberships_of(pipeline: Pipeline, profile_ids: Sequence[str]) -> dict[str, list[str]]:
    documents = await pipeline.store.documents("membership", profile_ids)
    return {
        name: sorted(segment for segment, state in decode_membership(document.data).segments.items() if state.member)
        for name, document in documents.items()
    }


@given(history=histories(), seed=st.integers(0, 1 << 32), partitions=st.integers(1, 4), crash_rate=st.sampled_from([0.0, 0.3]))
@settings(max_examples=rounds(quick=100, thorough=400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_order_duplication_slicing_and_crash_gives_groups_and_segments_as_defined(
    history: list[Event], seed: int, partitions: int, crash_rate: float
) -> None:
    rng = random.Random(seed)
    shuffled = [*history, *rng.choices(history, k=rng.randint(0, len(history)))]
    rng.shuffle(shuffled)
    pipeline = Pipeline(rng, SEGMENTS, partitions=partitions, crash_rate=crash_rate, rules=RULES)
    await run(shuffled, pipeline)
    documents, memberships = await expected_groups(history, pipeline)
    assert shape(await stored(pipeline)) == shape(documents)
    assert await memberships_of(pipeline, list(memberships)) == memberships


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(max_examples=rounds(quick=50, thorough=100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_group_documents_are_rebuilt_from_group_records(history: list[Event], seed: int) -> None:
    pipeline = Pipeline(random.Random(seed), SEGMENTS, crash_rate=0.3, rules=RULES)
    await run(history, pipeline)
    group_records = [
        decode(GroupRecord, record.value) for (topic, _), log in pipeline.logs.items() if topic == "groups" for record in log
    ]
    random.Random(seed).shuffle(group_records)
    assert shape(documents_from_records(group_records)) == shape(await stored(pipeline))


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(max_examples=rounds(quick=50, thorough=100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_no_trait_that_is_not_shared_is_ever_seen_through_a_group(history: list[Event], seed: int) -> None:
    pipeline = Pipeline(random.Random(seed), SEGMENTS, crash_rate=0.3, rules=RULES)
    await run(history, pipeline)
    values = [record.value or b"" for (topic, _), log in pipeline.logs.items() if topic == "groups" for record in log]
    values += [data async for _, data in pipeline.store.scan("group")]
    hidden = [PRIVATE, "secret", "nhà 1", "nhà 2", "address", "Trần", "Lê Lợi", *PHONES]
    assert not [text for value in values for text in hidden if text.encode() in value]
    documents = await stored(pipeline)
    assert {name for group in documents.values() for c in group.contributions.values() for name in c.traits} <= {"city"}


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_without_household_rule_and_group_calls_no_contribution_is_emitted(history: list[Event], seed: int) -> None:
    pipeline = Pipeline(random.Random(seed), SEGMENTS)
    await run([item for item in history if item.type != "group"], pipeline)
    assert not [topic for topic, _ in pipeline.logs if topic == "groups"]
