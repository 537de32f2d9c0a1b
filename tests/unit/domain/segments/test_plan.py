"""All definitions together: what an event feeds, what a change concerns, and when the plan's fingerprint changes."""

from typing import Any

import pytest

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS
from domain.segments.leaves.did import DidCondition
from domain.segments.plan import NAMESPACES_CHANGED, SegmentPlan, trait_change_key
from domain.segments.profile_facts import GroupFacts, ProfileFacts
from domain.segments.registers import Register
from schemas.instants import NEVER
from tests.support.segments import OWNER, computed, customer_event, facts, list_definition, segment

VIP = {"trait": {"path": "tier", "value": "vip"}}


def fed(plan: SegmentPlan, name: str, properties: dict[str, Any]) -> int:
    """Return how many registers an event feeds."""
    return len(plan.entries_from(customer_event(name, 0, properties), "m"))


def test_a_filtered_leaf_is_fed_by_fitting_events_only() -> None:
    where = [{"prop": "cart.total", "op": "gt", "value": 100}, {"prop": "city", "value": "Huế"}]
    plan = segment_plan_of([segment("s", {"did": {"event": "e", "where": where, "at_least": 2}})])
    assert fed(plan, "e", {"cart": {"total": 101}, "city": "Huế"}) == 1
    assert fed(plan, "e", {"cart": {"total": 100}, "city": "Huế"}) == 0
    assert fed(plan, "e", {"cart": {"total": "101"}, "city": "Huế"}) == 0
    assert fed(plan, "other", {"cart": {"total": 101}, "city": "Huế"}) == 0


def test_an_event_feeds_the_registers_of_its_label() -> None:
    plan = segment_plan_of([segment("s", {"did": {"event": "$page"}}), segment("t", {"did": {"event": "Home"}})])
    assert [register.event for register, _ in plan.entries_from(customer_event("$page", 0), "m")] == ["$page"]
    assert [register.event for register, _ in plan.entries_from(customer_event("Home", 0), "m")] == ["Home"]


def of_event(plan: SegmentPlan, event: str) -> list[Register]:
    return [register for register in plan.registers.values() if register.event == event]


@pytest.mark.parametrize("order", [1, -1])
def test_leaves_over_the_same_events_share_a_register_of_the_largest_need(order: int) -> None:
    leaves = [{"at_least": 2, "within": "1d"}, {"at_least": 5, "within": "1h"}, {"at_most": 6, "within": "2h"}]
    plan = segment_plan_of([segment(f"s{n}", {"did": {"event": "e", **leaf}}) for n, leaf in enumerate(leaves[::order])])
    [register] = of_event(plan, "e")
    assert register.capacity == 7
    assert register.horizon_ms == 86_400_000 + 3_600_000


def test_a_leaf_without_a_window_takes_the_horizon_away() -> None:
    plan = segment_plan_of([segment("a", {"did": {"event": "e", "within": "1d"}}), segment("b", {"did_not": {"event": "e"}})])
    assert [register.horizon_ms for register in of_event(plan, "e")] == [None]


def test_leaves_over_other_events_or_values_have_registers_of_their_own() -> None:
    where = [{"prop": "city", "value": "Huế"}]
    plan = segment_plan_of([
        segment("a", {"did": {"event": "e"}}), segment("b", {"did": {"event": "e", "where": where}}),
        segment("c", {"first": {"event": "e"}}), segment("d", {"aggregate": {"event": "e", "of": "sum", "prop": "x", "value": 1}}),
        segment("e", {"aggregate": {"event": "e", "of": "avg", "prop": "x", "value": 1}}),
        segment("f", {"aggregate": {"event": "e", "of": "sum", "prop": "y", "value": 1}}),
    ])  # fmt: skip
    assert len(of_event(plan, "e")) == 5  # d and e share theirs


PLAN = segment_plan_of([
    segment("buyer", {"did": {"event": "Order Completed"}}),
    segment("cart", {"sequence": {"first": {"event": "Added"}, "then_not": {"event": "Order Completed", "within": "30m"}}}),
    segment("city", {"trait": {"path": "address.city", "value": "Huế"}}),
    segment("vip", VIP),
    segment("spent", {"trait": {"path": "computed.spent", "op": "gte", "value": 100}}),
    segment("best", {"rfm": {"recency": [5]}}),
    segment("loyal", {"lifecycle": {"stage": ["loyal"]}}),
    segment("birthday", {"calendar": {"trait": "born", "zone_trait": "where.zone"}}),
    segment("listed", {"list": "vips"}),
    segment("team", {"account": {"members": {"at_least": 2}}}),
    segment("home", {"all": [{"household": {"members": {"at_least": 2}}}, VIP]}),
    segment("mail", {"subscribed": {"channel": "email"}}),
    segment("ads", {"consent": {"purpose": "ads"}}),
    segment("named", {"all": [{"in_segment": "buyer"}, {"did": {"event": "Seen"}}]}),
    segment("all", {"everyone": True}),
    computed("spent", {"sum": {"event": "Paid", "prop": "amount"}}),
])  # fmt: skip
ALWAYS = {"team", "home"}


@pytest.mark.parametrize(
    ("changed", "traits", "segments"),
    [
        ({"Order Completed"}, {"rfm", "lifecycle"}, {"buyer", "cart"}),
        ({"Added"}, set(), {"cart"}),
        ({"Paid"}, {"spent"}, set()),
        ({"Seen"}, set(), {"named"}),
        ({"$identify"}, set(), {"mail"}),
        ({"Segment Consent Preference Updated"}, set(), {"ads"}),
        ({trait_change_key("address")}, set(), {"city"}),
        ({trait_change_key("address.city")}, set(), {"city"}),
        ({trait_change_key("city")}, set(), set()),
        ({trait_change_key("tier")}, set(), {"vip"}),
        ({trait_change_key("born")}, set(), {"birthday"}),
        ({trait_change_key("where")}, set(), {"birthday"}),
        ({trait_change_key("timezone")}, set(), set()),
        ({NAMESPACES_CHANGED}, {"lifecycle"}, set()),
        ({"Added", trait_change_key("tier"), NAMESPACES_CHANGED}, {"lifecycle"}, {"cart", "vip"}),
        ({"$page", "Other"}, set(), set()),
        (set(), set(), set()),
    ],
)
def test_change_affects_its_readers_and_group_readers(changed: set[str], traits: set[str], segments: set[str]) -> None:
    assert PLAN.affected_by(changed) == (traits, segments | ALWAYS)


def test_an_unknown_change_concerns_everything() -> None:
    assert PLAN.affected_by(None) == ({"rfm", "lifecycle", "spent"}, set(PLAN.segments))


@pytest.mark.parametrize(
    ("traits", "segments"),
    [({"spent"}, {"spent"}), ({"rfm"}, {"best"}), ({"lifecycle", "spent"}, {"loyal", "spent"}), ({"other"}, set()), (set(), set())],
)
def test_computed_trait_change_affects_segments_that_read_it(traits: set[str], segments: set[str]) -> None:
    assert PLAN.segments_using_computed(traits) == segments


def test_thousand_unaffected_segments_are_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    fitted: list[str] = []
    evaluate, entry = DidCondition.evaluate, Register.entry

    def counted(leaf: DidCondition, *rest: Any) -> Any:
        asked.append(leaf.did.event)
        return evaluate(leaf, *rest)

    def counted_entry(register: Register, *rest: Any) -> Any:
        fitted.append(register.event)
        return entry(register, *rest)

    monkeypatch.setattr(DidCondition, "evaluate", counted)
    monkeypatch.setattr(Register, "entry", counted_entry)
    plan = segment_plan_of(segment(f"s{number}", {"did": {"event": f"e{number}", "within": "1d"}}) for number in range(1_000))
    held = facts(plan, [customer_event("e7", 5)])
    assert fitted == ["e7"]
    assert plan.affected_by_facts(held) == ({"lifecycle"}, {"s7"})
    asked.clear()
    traits, names = plan.affected_by({"e7"})
    assert traits == set()
    found = plan.evaluate(held, 5, names, {})
    assert asked == ["e7"]
    assert {name: verdict.is_member for name, verdict in found.items()} == {"s7": True}


def test_constant_segments_have_the_same_verdict_without_facts() -> None:
    assert PLAN.blank_computed == {"lifecycle": "visitor"}
    assert PLAN.blank_members == {"all"}
    assert {verdict.next_change_ms for verdict in PLAN.blank_results.values()} == {NEVER}
    whom = {"listed"} | ALWAYS
    assert PLAN.affected_by_facts(ProfileFacts()) == ({"lifecycle"}, whom)
    held = facts(PLAN, [customer_event("Added", 5), customer_event("Unheard", 6)], traits={"address": {"city": "Huế"}})
    assert PLAN.affected_by_facts(held) == ({"lifecycle"}, whom | {"cart", "city"})


def test_a_list_has_the_profiles_with_a_node_on_it() -> None:
    nodes = [f"{number:032x}" for number in range(3)]
    plan = segment_plan_of(
        [segment("in", {"list": "vips"}), segment("gone", {"list": "other"}), list_definition("vips", nodes[:2])]
    )
    for own, inside in [((nodes[0],), True), ((nodes[2], nodes[1]), True), ((nodes[2],), False), ((), False)]:
        verdicts = plan.evaluate(ProfileFacts(nodes=own), 0)
        assert verdicts["in"].is_member == inside
        assert verdicts["gone"].is_member is False


BASE: list[AnyDefinition] = [
    segment("s", {"did": {"event": "e", "within": "1h"}}), segment("t", VIP), computed("n", {"count": {"event": "e"}}),
    list_definition("vips", ["0" * 32, "1" * 32]),
]  # fmt: skip


def titled() -> AnyDefinition:
    held = segment("s", {"did": {"event": "e", "within": "60m"}})
    return held.model_copy(update={"spec": held.spec.model_copy(update={"title": {"vi": "Khách"}})})


@pytest.mark.parametrize(
    "definitions",
    [BASE[::-1], [titled(), *BASE[1:]], [*BASE[:3], list_definition("vips", ["1" * 32, "0" * 32, "1" * 32])]],
)
def test_the_fingerprint_stays_while_the_meaning_does(definitions: list[AnyDefinition]) -> None:
    assert segment_plan_of(definitions).fingerprint == segment_plan_of(BASE).fingerprint


@pytest.mark.parametrize(
    "definitions",
    [
        BASE[1:],
        BASE[:3],
        [BASE[0], BASE[1], BASE[3]],
        [segment("s", {"did": {"event": "e", "within": "2h"}}), *BASE[1:]],
        [segment("s2", {"did": {"event": "e", "within": "1h"}}), *BASE[1:]],
        [*BASE[:2], computed("n", {"count": {"event": "f"}}), BASE[3]],
        [*BASE[:3], list_definition("vips", ["0" * 32])],
        [*BASE, segment("u", {"everyone": True})],
        [*BASE, computed("rfm", {"rfm": DEFAULT_COMPUTED_TRAITS["rfm"].rfm.model_dump(mode="json") | {"within": "30d"}})]  # type: ignore[union-attr]  # it is one
    ],
)  # fmt: skip
def test_the_fingerprint_changes_when_the_meaning_does(definitions: list[AnyDefinition]) -> None:
    assert segment_plan_of(definitions).fingerprint != segment_plan_of(BASE).fingerprint


def test_the_versions_are_by_segment() -> None:
    other = segment_plan_of([segment("s", {"did": {"event": "e", "within": "2h"}}), *BASE[1:]])
    base = segment_plan_of(BASE)
    assert other.versions["s"] != base.versions["s"]
    assert other.versions["t"] == base.versions["t"]


def test_all_at_an_instant_is_computed_traits_first() -> None:
    plan = segment_plan_of([
        computed("spent", {"sum": {"event": "Paid", "prop": "amount"}}),
        computed("none", {"max": {"event": "Other", "prop": "amount"}}),
        segment("big", {"trait": {"path": "computed.spent", "op": "gte", "value": 100}}),
        segment("fan", {"in_segment": "big"}),
    ])  # fmt: skip
    values, verdicts = plan.evaluate_all(facts(plan, [customer_event("Paid", n, {"amount": 50}) for n in range(2)]), 10)
    assert values == {"spent": 100, "lifecycle": "lead"}
    assert {name: verdict.is_member for name, verdict in verdicts.items()} == {"big": True, "fan": True}


def test_a_household_counts_what_its_segments_ask_for() -> None:
    plan = segment_plan_of([segment("s", {"household": {"did": {"event": "e", "at_least": 3}}})])
    assert plan.household_limits == {"e": 3}
    for times, inside in [(2, False), (3, True)]:
        verdict = plan.evaluate(ProfileFacts(household=GroupFacts({}, 2, {"e": times})), 0)["s"]
        assert verdict.is_member == inside
        assert verdict.next_change_ms == NEVER


def test_one_message_of_two_owners_is_two_events() -> None:
    plan = segment_plan_of([segment("s", {"did": {"event": "e", "exactly": 2}})])
    twice = [customer_event("e", 0, id="1", identifiers=who) for who in (OWNER, {"user_id": "khách-2"})]
    assert plan.evaluate(facts(plan, [*twice, *twice]), 0)["s"].is_member
