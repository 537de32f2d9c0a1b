"""What a change of definitions recomputes from history, and what it leaves alone."""

from collections.abc import Iterable
from typing import Any

import pytest

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import SegmentPlan
from domain.segments.plan_changes import compare_plans
from tests.support.segments import computed, list_definition, segment

BUYER = segment("buyer", {"did": {"event": "Bought", "within": "7d"}})
LOYAL = segment("loyal", {"all": [{"in_segment": "buyer"}, {"trait": {"path": "computed.spent", "op": "gte", "value": 5}}]})
SPENT = computed("spent", {"sum": {"event": "Bought", "prop": "total"}})
STAFF = list_definition("staff", ["0" * 31 + "1"])
OURS = segment("ours", {"list": "staff"})
TEAM = segment("team", {"account": {"members": {"at_least": 2}}})
ALL = (BUYER, LOYAL, SPENT, STAFF, OURS, TEAM)


def changed(after: Iterable[AnyDefinition], before: Iterable[AnyDefinition] = ALL) -> tuple[tuple[str, ...], set[str], int]:
    """Return the segments to compute, the computed traits, and how many registers to seed."""
    found = compare_plans(segment_plan_of(before), segment_plan_of(after))
    return found.segments, set(found.computed), len(found.registers)


def with_(*others: AnyDefinition) -> list[AnyDefinition]:
    names = {one.key for one in others}
    return [one for one in ALL if one.key not in names] + list(others)


def test_the_same_definitions_ask_for_nothing() -> None:
    assert not compare_plans(segment_plan_of(ALL), segment_plan_of(reversed(ALL)))


def test_new_definitions_are_computed_after_their_references() -> None:
    segments, traits, registers = changed(ALL, ())
    assert set(segments) == {"buyer", "loyal", "ours", "team"}
    assert traits == {"spent"}
    assert registers == 2
    assert segments.index("buyer") < segments.index("loyal")


def test_dependents_of_a_change_are_recomputed() -> None:
    assert changed(with_(segment("buyer", {"did": {"event": "Bought", "within": "1d"}}))) == (("buyer", "loyal"), set(), 0)
    assert changed(with_(computed("spent", {"sum": {"event": "Bought", "prop": "net"}}))) == (("loyal",), {"spent"}, 1)
    assert changed(with_(list_definition("staff", ["0" * 31 + "2"]))) == (("ours",), set(), 0)


def test_dependents_of_an_overridden_shipped_trait_are_recomputed() -> None:
    lost = segment("lost", {"lifecycle": {"stage": ["lost"]}})
    own = computed("lifecycle", {"lifecycle": {"at_risk_after": "10d", "lost_after": "20d"}})
    assert changed([lost, own], [lost])[:2] == (("lost",), {"lifecycle"})
    assert changed([lost], [lost, own])[:2] == (("lost",), {"lifecycle"})


@pytest.mark.parametrize(
    ("before", "after", "seeded"),
    [
        ({"at_least": 2}, {"at_least": 3}, 1),
        ({"at_least": 3}, {"at_least": 2}, 0),
        ({"within": "1d"}, {"within": "2d"}, 1),
        ({"within": "2d"}, {"within": "1d"}, 0),
        ({"within": "2d"}, {}, 1),
        ({}, {"within": "2d"}, 0),
    ],
)
def test_a_register_is_seeded_when_it_holds_too_little(before: dict[str, Any], after: dict[str, Any], seeded: int) -> None:
    one, other = (segment("s", {"did": {"event": "Viewed"} | room}) for room in (before, after))
    assert changed([other], [one]) == (("s",), set(), seeded)


def test_register_large_enough_by_another_definition_is_not_seeded() -> None:
    large = segment("large", {"did": {"event": "Viewed", "at_least": 9}})
    assert changed([large, segment("small", {"did": {"event": "Viewed"}})], [large]) == (("small",), set(), 0)


def test_segments_that_look_at_groups_are_known_with_those_that_name_them() -> None:
    found = compare_plans(
        SegmentPlan(), segment_plan_of([*ALL, segment("big", {"any": [{"in_segment": "team"}, {"list": "staff"}]})])
    )
    assert found.group_segments == {"team", "big"}


def test_labels_are_those_of_the_registers_to_seed() -> None:
    assert compare_plans(SegmentPlan(), segment_plan_of([BUYER, TEAM])).event_labels == ("Bought",)
