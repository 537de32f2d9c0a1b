"""The leaves about accounts and households, and the household rule."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.definitions.kinds import (
    DEFINITION_ADAPTER,
    IdentityRules,
    InvalidDefinition,
    Segment,
    decode_definition,
    encode_definition,
    parse_definition,
)
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import CompiledIdentityRules, HouseholdRules, IdentityRulesSpec
from domain.segments.profile_facts import GroupFacts, ProfileFacts
from schemas.instants import NEVER

ENTERPRISE = {"account": {"trait": {"path": "plan", "value": "enterprise"}, "members": {"at_least": 2}}}


def segment(where: Any) -> Segment:
    document = parse_definition(
        {"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": "s"}, "spec": {"where": where}}, "test.yaml"
    )
    assert isinstance(document, Segment)
    return document


def member(where: Any, facts: ProfileFacts) -> bool:
    verdict = segment_plan_of([segment(where)]).evaluate(facts, 0)["s"]
    assert verdict.next_change_ms == NEVER
    return verdict.is_member


def test_all_account_conditions_must_hold_for_one_account() -> None:
    large, paying = GroupFacts({"plan": "free"}, 5), GroupFacts({"plan": "enterprise"}, 1)
    assert not member(ENTERPRISE, ProfileFacts(accounts=(large, paying)))
    assert member(ENTERPRISE, ProfileFacts(accounts=(large, paying, GroupFacts({"plan": "enterprise"}, 2))))
    assert not member(ENTERPRISE, ProfileFacts({"plan": "enterprise"}))


def test_a_household_is_asked_for_its_members_traits_and_counts() -> None:
    home = ProfileFacts(household=GroupFacts({"address": {"city": "Huế"}}, 3, {"Order Completed": 2}))
    assert member({"household": {"members": {"at_least": 3}}}, home)
    assert not member({"household": {"members": {"at_least": 4}}}, home)
    assert member({"household": {"trait": {"path": "address.city", "value": "Huế"}}}, home)
    assert member({"household": {"did": {"event": "Order Completed", "at_least": 2}}}, home)
    assert not member({"household": {"did": {"event": "Order Completed", "at_least": 3}}}, home)
    assert not member({"household": {"did": {"event": "$page"}}}, home)


def test_without_a_household_the_leaf_is_false_and_its_not_true() -> None:
    asks = {"household": {"trait": {"path": "city", "op": "exists", "value": False}}}
    assert not member(asks, ProfileFacts())
    assert member({"not": asks}, ProfileFacts())
    assert member(asks, ProfileFacts(household=GroupFacts({}, 2)))


def test_a_plan_knows_what_its_segments_ask_of_groups() -> None:
    asks = [{"household": {"did": {"event": "e", "at_least": n}}} for n in (2, 5, 3)]
    plan = segment_plan_of([segment({"any": [ENTERPRISE, *asks]})])
    assert {kind: len(conditions) for kind, conditions in plan.group_conditions.items()} == {"account": 1, "household": 3}
    assert plan.household_limits == {"e": 5}
    plain = segment_plan_of([segment({"trait": {"path": "x", "op": "exists"}})])
    assert plain.group_conditions == {"account": [], "household": []}
    assert plain.household_limits == {}


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({"account": {}}, "account"),
        ({"account": {"did": {"event": "e"}}}, "account.did"),
        ({"account": {"members": {}}}, "account.members.at_least"),
        ({"account": {"members": {"at_least": 0}}}, "account.members.at_least"),
        ({"household": {}}, "household"),
        ({"household": {"did": {"event": "e", "within": "1h"}}}, "household.did.within"),
        ({"household": {"trait": {"path": "x", "op": "in", "value": 1}}}, "household.trait"),
        ({"account": {"members": {"at_least": 1}}, "household": {}}, "where"),
    ],
)
def test_errors_name_the_path(where: Any, path: str) -> None:
    with pytest.raises(InvalidDefinition) as raised:
        segment(where)
    assert path in str(raised.value)


def test_the_leaves_survive_the_topic_and_have_a_schema() -> None:
    said = segment({"all": [ENTERPRISE, {"not": {"household": {"did": {"event": "Đặt hàng"}}}}]})
    assert decode_definition(encode_definition(said), said.key) == said
    assert {"AccountLeaf", "HouseholdLeaf", "HouseholdRules"} <= DEFINITION_ADAPTER.json_schema()["$defs"].keys()


def test_the_household_rule_reaches_the_compiled_rules() -> None:
    document = parse_definition(
        {
            "apiVersion": "onefold/v1",
            "kind": "IdentityRules",
            "metadata": {"name": "default"},
            "spec": {"household": {"landline": True, "shared_traits": ["city"]}},
        },
        "test.yaml",
    )
    assert isinstance(document, IdentityRules)
    rules = CompiledIdentityRules.from_spec(document.spec, secret=b"s", country="VN")
    assert rules.household == HouseholdRules(landline=True, shared_traits=("city",))
    assert CompiledIdentityRules.from_spec(IdentityRulesSpec(), secret=b"s", country="VN").household is None


@pytest.mark.parametrize("rule", [{}, {"shared_traits": ["city"]}, {"landline": True, "max_members": 1}, {"landlines": True}])
def test_a_household_without_a_sign_or_with_a_senseless_limit_is_refused(rule: Any) -> None:
    with pytest.raises(ValidationError):
        HouseholdRules.model_validate(rule)
