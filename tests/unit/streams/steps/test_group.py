"""Accounts and households through all steps: who is in which, and what their members' segments make of it."""

import random
from typing import Any

import pytest

from domain.definitions.kinds import Segment, load_yaml
from domain.identity.groups import decode_group
from domain.identity.households import group_kind
from domain.identity.rules import CompiledIdentityRules, HouseholdRules
from domain.profiles.membership import decode_membership
from schemas.events import Event, EventType
from schemas.records import GroupKind, LinkDecision
from tests.support.events import START_MS, event
from tests.support.simulated_pipeline import Pipeline

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: enterprise}
spec: {where: {account: {trait: {path: plan, value: enterprise}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: family}
spec: {where: {household: {members: {at_least: 2}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: buying-family}
spec: {where: {household: {did: {event: Order Completed, at_least: 2}}}}
"""
SEGMENTS = [document for document in load_yaml(DEFINITIONS, "test") if isinstance(document, Segment)]
RULE = HouseholdRules(id_trait="household_id", address_trait="address", landline=True, shared_phone=True)
LANDLINE, MOBILE = "+842838221234", "+84901234567"
NUMBERS = iter(range(1_000_000))


def profile_event(
    user: str, kind: EventType = "identify", name: str = "", *, group: str = "", traits: Any = None, **others: str
) -> Event:
    """Return a call of a user, later than all calls before it."""
    number = next(NUMBERS)
    return event(
        {"user_id": user, **others},
        id=f"m{number}",
        type=kind,
        name=name,
        time_ms=START_MS + number,
        properties={"groupId": group} if group else {},
        traits=traits or {},
    )


def pipeline(rule: HouseholdRules | None = RULE, seed: int = 1) -> Pipeline:
    made = Pipeline(random.Random(seed), SEGMENTS, rules=CompiledIdentityRules(household=rule))
    made.clock.advance(400_000_000)
    return made


async def run_pipeline(line: Pipeline, *events: Event) -> None:
    for item in events:
        line.feed(item)
    await line.drain()


async def members(line: Pipeline, kind: GroupKind, least: int = 1) -> list[list[str]]:
    """Return the member lists of all groups of a kind that have at least that number of members."""
    found = [decode_group(data).members() async for name, data in line.store.scan("group") if group_kind(name) == kind]
    return sorted(list_of for list_of in found if len(list_of) >= least)


async def inside(line: Pipeline, user: str) -> list[str]:
    """Return the segments of the profile that the user belongs to now."""
    profile_id = (await line.store.labels([node(user)]))[node(user)].profile_id
    document = (await line.store.documents("membership", [profile_id]))[profile_id]
    return sorted(name for name, state in decode_membership(document.data).segments.items() if state.member)


def node(user: str) -> str:
    return event({"user_id": user}, id="any").owner


def nodes(*users: str) -> list[str]:
    return sorted(node(user) for user in users)


async def test_one_address_written_in_two_ways_makes_a_household_and_another_does_not() -> None:
    line = pipeline()
    await run_pipeline(
        line,
        profile_event("an", traits={"address": "12 Trần Hưng Đạo, P.5, Huế"}),
        profile_event("bình", traits={"address": {"street": "12 TRAN HUNG DAO, phuong 5", "city": "huế"}}),
        profile_event("chi", traits={"address": "14 Trần Hưng Đạo, P.5, Huế"}),
    )
    assert await members(line, "household", 2) == [nodes("an", "bình")]
    assert [await inside(line, user) for user in ("an", "bình", "chi")] == [["family"], ["family"], []]


async def test_a_landline_makes_a_household_and_a_mobile_does_not_unless_asked() -> None:
    for rule, seen in (
        (HouseholdRules(landline=True), [nodes("an", "bình")]),
        (HouseholdRules(shared_phone=True), [nodes("an", "bình"), nodes("chi", "dũng")]),
    ):
        line = pipeline(rule)
        await run_pipeline(
            line,
            profile_event("an", phone=LANDLINE),
            profile_event("bình", caller_number=LANDLINE),
            profile_event("chi", phone=MOBILE),
            profile_event("dũng", phone=MOBILE),
        )
        assert await members(line, "household", 2) == sorted(seen)


async def test_a_phone_that_two_share_belongs_to_one_of_them_and_makes_both_a_household() -> None:
    line = pipeline()
    await run_pipeline(line, profile_event("an", phone=MOBILE), profile_event("bình", phone=MOBILE))
    phone = event({"phone": MOBILE}, id="any").owner
    labels = await line.store.labels([phone, *nodes("an", "bình")])
    assert len({label.profile_id for label in labels.values()}) == 2
    assert await members(line, "household", 2) == [nodes("an", "bình")]


async def test_an_explicit_id_goes_before_an_address() -> None:
    line = pipeline()
    await run_pipeline(
        line,
        profile_event("an", traits={"household_id": "nhà 1", "address": "12 Lê Lợi, Huế"}),
        profile_event("bình", traits={"address": "12 Lê Lợi, Huế"}),
        profile_event("chi", traits={"household_id": "nhà 1"}),
    )
    assert await members(line, "household", 2) == sorted([nodes("an", "bình"), nodes("an", "chi")])
    await run_pipeline(line, profile_event("chi", "track", "Order Completed"), profile_event("an", "track", "Order Completed"))
    assert [await inside(line, user) for user in ("an", "bình", "chi")] == [
        ["buying-family", "family"],
        ["family"],
        ["buying-family", "family"],
    ]


async def test_member_leaving_a_household_leaves_the_others_in_it() -> None:
    line = pipeline()
    await run_pipeline(line, *(profile_event(user, traits={"address": "12 Lê Lợi, Huế"}) for user in ("an", "bình")))
    assert await inside(line, "bình") == ["family"]
    await run_pipeline(line, profile_event("an", traits={"address": None}))
    assert await members(line, "household") == [nodes("bình")]
    assert await inside(line, "bình") == []
    causes = [(said.op, said.cause) for said in line.transitions() if said.profile_id == node("bình")]
    assert causes[-1] == ("exited", "group")


async def test_more_than_the_rule_allows_are_no_household() -> None:
    line = pipeline(HouseholdRules(address_trait="address", max_members=2))
    await run_pipeline(line, *(profile_event(user, traits={"address": "1 Chợ Lớn"}) for user in ("an", "bình")))
    assert await inside(line, "an") == ["family"]
    await run_pipeline(line, profile_event("chi", traits={"address": "1 Chợ Lớn"}))
    assert [await inside(line, user) for user in ("an", "bình", "chi")] == [[], [], []]


async def test_a_trait_of_an_account_brings_its_members_into_a_segment_and_out_again() -> None:
    line = pipeline(None)
    await run_pipeline(
        line,
        profile_event("an", "group", group="Công ty A"),
        profile_event("bình", "group", group="Công ty A"),
        profile_event("chi", "group", group="b"),
    )
    assert await members(line, "account") == sorted([nodes("an", "bình"), nodes("chi")])
    await run_pipeline(line, profile_event("an", "group", group="Công ty A", traits={"plan": "enterprise"}))
    assert [await inside(line, user) for user in ("an", "bình", "chi")] == [["enterprise"], ["enterprise"], []]
    await run_pipeline(line, profile_event("an", "group", group="Công ty A", traits={"plan": "free"}))
    assert [await inside(line, user) for user in ("an", "bình", "chi")] == [[], [], []]
    causes = {said.cause for said in line.transitions() if said.profile_id == node("bình")}
    assert causes == {"group"}


@pytest.mark.parametrize("seed", range(20))
async def test_a_member_that_comes_after_its_account_has_changed_sees_it(seed: int) -> None:
    line = pipeline(None, seed)
    await run_pipeline(line, profile_event("an", "group", group="Công ty A", traits={"plan": "enterprise"}))
    await run_pipeline(line, profile_event("bình", "group", group="Công ty A"))
    assert [await inside(line, user) for user in ("an", "bình")] == [["enterprise"], ["enterprise"]]


async def test_a_merge_leaves_no_ghost() -> None:
    line = pipeline()
    cookie = {"anonymous_id": "c1"}
    line.feed(event(cookie, id="x1", type="group", properties={"groupId": "Công ty A"}, time_ms=START_MS))
    await run_pipeline(line, event(cookie | {"phone": LANDLINE}, id="x2", type="identify", time_ms=START_MS))
    assert await members(line, "household", 2) == []
    (before,) = await members(line, "account")
    assert before != nodes("an")
    await run_pipeline(line, profile_event("an", "track", "Signed In", anonymous_id="c1"))
    assert await members(line, "account") == [nodes("an")]
    assert await members(line, "household") == [nodes("an")]
    await run_pipeline(line, profile_event("bình", phone=LANDLINE))
    assert await members(line, "household", 2) == [nodes("an", "bình")]


async def test_a_split_gives_each_part_its_own_groups_and_undoing_it_takes_them_back() -> None:
    line = pipeline()
    cookie = event({"anonymous_id": "c1"}, id="any").owner
    line.feed(event({"anonymous_id": "c1"}, id="x1", type="group", properties={"groupId": "Công ty A"}, time_ms=START_MS))
    await run_pipeline(
        line,
        profile_event("an", "track", "Signed In", anonymous_id="c1"),
        profile_event("an", traits={"address": "12 Lê Lợi, Huế"}),
    )
    assert await members(line, "account") == [nodes("an")]
    pairs = (("cut", *sorted((node("an"), cookie))),)
    line.feed_decision(LinkDecision(operation="op", action="cut", pairs=pairs, on=True, at_ms=1))  # type: ignore[arg-type]  # a pair of two
    await line.drain()
    assert await members(line, "account") == [[cookie]]
    assert await members(line, "household") == [nodes("an")]
    line.feed_decision(LinkDecision(operation="undo", action="undo", pairs=pairs, on=False, at_ms=2, of="op"))  # type: ignore[arg-type]  # a pair of two
    await line.drain()
    assert await members(line, "account") == [nodes("an")]


async def test_a_zombie_that_writes_late_is_refused() -> None:
    line = Pipeline(random.Random(7), SEGMENTS, partitions=1)
    for number in range(5):
        line.feed(profile_event(f"user-{number}", "group", group="Công ty A", traits={"plan": "enterprise"}))
    while place := next((place for place in line.uncommitted() if place[0] != "groups"), None):
        await line.run_slice(*place)
    assert await line.run_zombie_slice("groups", 0)


async def test_groups_without_reading_segments_touch_no_profile() -> None:
    line = Pipeline(random.Random(7), (), rules=CompiledIdentityRules(household=RULE))
    await run_pipeline(
        line,
        profile_event("an", "group", group="b", traits={"plan": "x"}),
        profile_event("an", phone=LANDLINE),
        profile_event("bình", phone=LANDLINE),
    )
    assert await members(line, "household", 2) == [nodes("an", "bình")]
    touched = [record.value or b"" for (topic, _), log in line.logs.items() if topic == "touched" for record in log]
    assert not [value for value in touched if b'"cause":"group"' in value]
