"""Documents of groups: they are bounded joins of their records, and segments read them."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import (
    MAX_DEPARTED,
    MAX_LISTED_MEMBERS,
    GroupDocument,
    account_facts,
    apply_group_records,
    changed_contributions,
    decode_group,
    documents_from_records,
    encode_group,
    household_facts,
    profile_contributions,
)
from domain.identity.households import group_id, group_kind
from domain.identity.rules import HouseholdRules
from domain.profiles.bounds import MAX_TRAITS
from domain.profiles.fragment import MAX_ACCOUNTS, Fragment, apply_event, decode_fragment, encode_fragment
from domain.profiles.join import JoinedProfile, join_fragments
from domain.segments.plan import SegmentPlan
from schemas.records import GroupRecord, TraitValue
from tests.support.events import event

SECRET = b"s"
ACCOUNT = group_id(SECRET, "account", "Công ty A")
HOME = group_id(SECRET, "household", "phone\0+842838221234")
RULE = HouseholdRules(landline=True, shared_traits=("city",), max_members=3)
PROFILES = [f"{number:032x}" for number in range(5)]


def joined(*traits: tuple[str, Any], phone: str = "", accounts: tuple[str, ...] = (), orders: int = 0) -> JoinedProfile:
    fragment = Fragment(accounts=accounts, counters={"Order Completed": orders} if orders else {})
    fragment.identifiers["0a"] = ("user_id", "u1")
    if phone:
        fragment.identifiers["3b"] = ("phone", phone)
    fragment.traits = {name: TraitValue(value, 5, "m") for name, value in traits}
    return join_fragments([fragment], {}, ["0a"])


def plan(where: str) -> SegmentPlan:
    text = f"apiVersion: onefold/v1\nkind: Segment\nmetadata: {{name: s}}\nspec: {{where: {where}}}"
    return segment_plan_of(document for document in load_yaml(text, "test") if isinstance(document, Segment))


@st.composite
def records(draw: st.DrawFn) -> list[GroupRecord]:
    """Draw the records that one account and one household receive; a number stands for one record of a profile."""
    by_number = {}
    for seq in range(draw(st.integers(1, 15))):
        profile_id, name = draw(st.sampled_from(PROFILES)), draw(st.sampled_from([ACCOUNT, HOME]))
        kind = group_kind(name)
        if kind == "account" and draw(st.booleans()):
            trait = TraitValue(draw(st.integers(0, 2)), draw(st.integers(0, 2)), f"m{seq}", draw(st.booleans()))
            traits = {draw(st.sampled_from(["plan", "ghế"])): trait}
            by_number[seq] = GroupRecord(group_id=name, kind=kind, name="Công ty A", traits=traits)
            continue
        city = TraitValue(draw(st.sampled_from(["Huế", "Vinh"])), draw(st.integers(0, 2)), f"m{seq}", draw(st.booleans()))
        shared = {"city": city} if kind == "household" else {}
        counters = {"Order Completed": seq} if kind == "household" else {}
        by_number[seq] = GroupRecord(
            group_id=name, kind=kind, profile_id=profile_id, present=draw(st.booleans()), seq=seq, traits=shared, counters=counters
        )
    return list(by_number.values())


@given(group_records=records(), rng=st.randoms(use_true_random=False))
def test_any_order_duplication_and_grouping_of_records_gives_the_same_documents(
    group_records: list[GroupRecord], rng: random.Random
) -> None:
    once = documents_from_records(group_records)
    shuffled = [*group_records, *rng.choices(group_records, k=5)]
    rng.shuffle(shuffled)
    single_steps: dict[str, GroupDocument] = {}
    for record in shuffled:
        document = decode_group(encode_group(single_steps.get(record.group_id, GroupDocument())))
        apply_group_records(document, [record])
        single_steps[record.group_id] = document
    assert {name: encode_group(group) for name, group in single_steps.items()} == {
        name: encode_group(group) for name, group in once.items()
    }


def contribution(profile_id: str, seq: int = 1, *, present: bool = True) -> GroupRecord:
    return GroupRecord(group_id=ACCOUNT, kind="account", profile_id=profile_id, seq=seq, present=present)


def profile_id(number: int, rng: random.Random) -> str:
    return f"{number:016x}{rng.getrandbits(64):016x}"


def test_a_group_of_many_lists_a_sample_and_counts_it() -> None:
    rng, group = random.Random(1), GroupDocument()
    many = 3 * MAX_LISTED_MEMBERS["account"]
    everyone = [profile_id(number, rng) for number in range(many)]
    for start in range(0, many, 5_000):
        apply_group_records(group, [contribution(name) for name in everyone[start : start + 5_000]])
    assert len(group.members()) <= MAX_LISTED_MEMBERS["account"]
    assert abs(group.size - many) < many / 20
    listed = set(group.members())
    apply_group_records(group, [contribution(name, 2, present=False) for name in everyone[: many // 2]])
    assert set(group.members()) == listed - set(everyone[: many // 2])
    assert abs(group.size - many / 2) < many / 20


def test_former_members_are_remembered_for_a_while() -> None:
    rng, group = random.Random(2), GroupDocument()
    everyone = [profile_id(number, rng) for number in range(MAX_DEPARTED + 20)]
    apply_group_records(group, [contribution(name, number) for number, name in enumerate(everyone)])
    apply_group_records(group, [contribution(name, 1_000 + number, present=False) for number, name in enumerate(everyone)])
    assert group.size == 0
    assert len(group.contributions) == MAX_DEPARTED
    apply_group_records(group, [contribution(everyone[-1], 5)])
    assert group.members() == []


def test_no_data_decodes_to_an_empty_document() -> None:
    assert decode_group(None) == GroupDocument()
    assert account_facts(GroupDocument()).members == 0
    assert household_facts(GroupDocument(), RULE) is None


@pytest.mark.parametrize(("members", "seen"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_household_is_two_or_more_and_not_too_many(members: int, seen: bool) -> None:
    group = GroupDocument()
    apply_group_records(
        group, [GroupRecord(group_id=HOME, kind="household", profile_id=name, seq=1) for name in PROFILES[:members]]
    )
    assert (household_facts(group, RULE) is not None) is seen
    assert household_facts(group, None) is None


def test_a_household_sees_the_latest_shared_trait_and_all_counters() -> None:
    group = GroupDocument()
    for number, (name, city) in enumerate(zip(PROFILES, ["Huế", "Vinh"], strict=False)):
        traits = {"city": TraitValue(city, number, "m"), "salary": TraitValue(9, number, "m")}
        apply_group_records(
            group,
            [GroupRecord(group_id=HOME, kind="household", profile_id=name, seq=1, traits=traits, counters={"Order Completed": 2})],
        )
    seen = household_facts(group, RULE)
    assert seen is not None
    assert seen.traits == {"city": "Vinh"}
    assert seen.members == 2
    assert seen.counters == {"Order Completed": 4}


def test_a_profile_contributes_presence_shared_traits_and_the_counts_that_segments_ask_for() -> None:
    asking_plan = plan("{household: {did: {event: Order Completed, at_least: 3}}}")
    profile = joined(("city", "Huế"), ("salary", 9), ("floor", None), phone="+842838221234", accounts=("Công ty A",), orders=7)
    contributions = profile_contributions(profile, "0a", asking_plan, RULE, SECRET)
    assert list(contributions) == [ACCOUNT, HOME]
    assert contributions[ACCOUNT] == GroupRecord(group_id=ACCOUNT, kind="account", name="Công ty A", profile_id="0a")
    assert contributions[HOME] == GroupRecord(
        group_id=HOME,
        kind="household",
        profile_id="0a",
        max_members=3,
        traits={"city": TraitValue("Huế", 5, "m")},
        counters={"Order Completed": 3},
    )
    assert list(profile_contributions(profile, "0a", asking_plan, None, SECRET)) == [ACCOUNT]


def test_only_changed_contributions_are_emitted_with_growing_sequence_numbers() -> None:
    current = profile_contributions(joined(phone="+842838221234", accounts=("b",)), "0a", SegmentPlan(), RULE, SECRET)
    first = changed_contributions({}, 0, current, "0a", 100)
    assert [(emitted.seq, emitted.present) for emitted in first.records] == [(100, True), (100, True)]
    assert changed_contributions(first.emitted_hashes, first.seq, current, "0a", 200).records == ()
    departure = changed_contributions(first.emitted_hashes, first.seq, {HOME: current[HOME]}, "0a", 50)
    assert [(emitted.kind, emitted.present, emitted.seq) for emitted in departure.records] == [("account", False, 101)]
    again = changed_contributions(departure.emitted_hashes, departure.seq, current, "0a", 50)
    assert [(emitted.kind, emitted.present, emitted.seq) for emitted in again.records] == [("account", True, 102)]


def test_spellings_of_an_account_name_are_stored_once() -> None:
    fragment = Fragment()
    for number, name in enumerate(["Công ty A", " Công ty A ", "null", "", "b"]):
        apply_event(
            fragment,
            event({"user_id": "u1"}, id=f"m{number}", type="group", properties={"groupId": name}, traits={"x": 1}),
            SegmentPlan(),
        )
    assert fragment.accounts == ("Công ty A", "b")
    assert fragment.traits == {}
    assert decode_fragment(encode_fragment(fragment)).accounts == fragment.accounts


def test_the_accounts_of_one_owner_are_bounded_whatever_their_order() -> None:
    calls = [
        event({"user_id": "u1"}, id=f"m{number}", type="group", properties={"groupId": f"{number:03}"})
        for number in range(MAX_ACCOUNTS + 20)
    ]
    forwards, backwards = Fragment(), Fragment()
    for call in calls:
        apply_event(forwards, call, SegmentPlan())
    for call in reversed(calls):
        apply_event(backwards, call, SegmentPlan())
    assert forwards.accounts == backwards.accounts
    assert len(forwards.accounts) == MAX_ACCOUNTS


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=20)
def test_an_account_keeps_the_same_traits_in_any_order_and_those_that_segments_read(seed: int) -> None:
    reader = plan("{account: {trait: {path: gói, value: lớn}}}")
    registers = {f"trait {number}": TraitValue(number, number, "m") for number in range(MAX_TRAITS + 60)}
    registers["gói"] = TraitValue("lớn", 1, "m")
    given_records = [
        GroupRecord(group_id=ACCOUNT, kind="account", name="Công ty A", traits={name: register})
        for name, register in registers.items()
    ]
    shuffled = random.Random(seed).sample(given_records, len(given_records))
    whole, part = GroupDocument(), GroupDocument()
    apply_group_records(whole, given_records, reader.retained)
    for record in shuffled:
        apply_group_records(part, [record], reader.retained)
    assert encode_group(whole) == encode_group(part)
    assert MAX_TRAITS <= len(whole.traits) <= MAX_TRAITS + 1
    assert whole.traits["gói"].value == "lớn"
