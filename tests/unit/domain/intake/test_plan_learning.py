"""A learnt tracking plan is proposed from the right evidence, and is a valid plan."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import TrackingPlan, load_yaml
from domain.definitions.yaml_text import commented_yaml
from domain.intake.plan_learning import PropertyStatistics, propose
from ops.cli.tracking_plan import parse_since_ms
from runtime.errors import Invalid
from tests.support.rounds import rounds


def proposed(seen: PropertyStatistics, events: int = 1_000) -> dict[str, Any]:
    document = propose("shop", [("Đặt hàng", events)], [seen])
    [plan] = load_yaml(commented_yaml(document, "about"), "plan.yaml")
    assert isinstance(plan, TrackingPlan)
    assert plan.sources == ("shop",)
    assert plan.spec.mode == "observe"
    found: dict[str, Any] = document["spec"]["events"]["Đặt hàng"][seen.section][seen.path]
    return found


def observed_property(path: str, present: int = 1_000, **counts: Any) -> PropertyStatistics:
    return PropertyStatistics("Đặt hàng", "properties", path, present, **counts)


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ({"texts": 1_000}, "string"),
        ({"texts": 1_000, "moneys": 1_000}, "money"),
        ({"texts": 1_000, "moneys": 999}, "string"),
        ({"texts": 1_000, "datetimes": 1_000}, "datetime"),
        ({"integers": 1_000}, "integer"),
        ({"integers": 500, "numbers": 500}, "number"),
        ({"booleans": 995, "texts": 5}, "boolean"),
        ({"arrays": 1_000}, "array"),
        ({"objects": 1_000}, "object"),
        ({"texts": 500, "integers": 500}, None),
    ],
)
def test_the_type_is_that_of_nearly_all_values(counts: dict[str, int], kind: str | None) -> None:
    assert proposed(observed_property("x", **counts)).get("type") == kind


def test_what_is_nearly_always_there_is_required() -> None:
    assert proposed(observed_property("x", 10_000, texts=10_000), 10_000)["required"] is True
    assert "required" not in proposed(observed_property("x", 9_990, texts=9_990), 10_000)
    assert "required" not in proposed(observed_property("x", 50, texts=50), 50)


def test_few_values_of_many_rows_are_an_enumeration() -> None:
    assert proposed(observed_property("currency", texts=1_000, distinct_values=2, samples=['"USD"', '"đồng"']))["enum"] == [
        "USD",
        "đồng",
    ]
    assert "enum" not in proposed(
        observed_property("coupon", texts=1_000, distinct_values=21, samples=[f'"{n}"' for n in range(21)])
    )
    assert "enum" not in proposed(
        observed_property("currency", 150, texts=150, distinct_values=8, samples=[f'"{n}"' for n in range(8)])
    )
    assert "enum" not in proposed(observed_property("note", texts=1_000, distinct_values=3, samples=['"a"', '"b"']))


@pytest.mark.parametrize(
    ("path", "counts", "pii"),
    [
        ("email", {}, "contact"),
        ("delivery_address", {}, "contact"),
        ("ref", {"emails": 900}, "contact"),
        ("ref", {"phones": 900}, "contact"),
        ("customer_id", {}, "identifier"),
        ("họ tên", {}, "identifier"),
        ("birthday", {}, "sensitive"),
        ("currency", {}, None),
    ],
)
def test_personal_data_are_guessed_and_their_values_not_shown(path: str, counts: dict[str, int], pii: str | None) -> None:
    found = proposed(observed_property(path, texts=1_000, distinct_values=1, samples=['"lan@cho-que.vn"'], **counts))
    assert found.get("pii") == pii
    assert ("enum" in found) is (pii is None)


_COUNTS = st.integers(0, 2_000)
_OBSERVED = st.builds(
    PropertyStatistics,
    st.sampled_from(["Đặt hàng", "$identify"]),
    st.sampled_from(["properties", "traits"]),
    st.text(max_size=12),
    _COUNTS,
    *(_COUNTS for _ in range(len(fields(PropertyStatistics)) - 5)),
    samples=st.lists(st.sampled_from(['"a"', '"ạ"', "1", "-7"]), max_size=21, unique=True),
)


@settings(max_examples=rounds(quick=100, thorough=200), deadline=None)
@given(st.lists(_OBSERVED, max_size=8), _COUNTS)
def test_whatever_was_seen_the_proposal_is_a_plan(found: list[PropertyStatistics], events: int) -> None:
    text = commented_yaml(propose("shop", [("Đặt hàng", events), ("$identify", 5)], found), "read it")
    [plan] = load_yaml(text, "plan.yaml")
    assert isinstance(plan, TrackingPlan)


def test_since_is_in_hours_or_days() -> None:
    assert parse_since_ms("12h") == 43_200_000
    assert parse_since_ms("7d") == 604_800_000
    for wrong in ("", "7", "0d", "-1d", "7w", "99999d"):
        with pytest.raises(Invalid, match="--since"):
            parse_since_ms(wrong)
