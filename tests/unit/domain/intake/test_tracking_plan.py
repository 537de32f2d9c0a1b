"""Tracking plans: their syntax, and how events are checked against them."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definitions import kinds
from domain.definitions.admission_rules import admission_rules
from domain.definitions.kinds import InvalidDefinition, TrackingPlan, load_yaml
from domain.intake.admission import Admission
from domain.intake.rejection import Rejection
from domain.intake.tracking_plan_check import MAX_VIOLATIONS, RULE_DESCRIPTIONS, CompiledPlan, PlanCheck, json_kind, metric_path
from schemas.codec import decode, encode
from schemas.events import Event, PlanViolation
from schemas.reasons import Reason
from tests.support.events import event
from tests.support.rounds import rounds

PLAN = """
apiVersion: onefold/v1
kind: TrackingPlan
metadata: {name: default}
spec:
  events:
    Đặt hàng:
      properties:
        total: {type: money, required: true, min: 0, max: "999999999.99"}
        currency: {type: string, enum: [VND, USD]}
        coupon: {type: string, pattern: "^TET[0-9]{4}$", max_length: 7}
        at: {type: datetime}
        count: {type: integer, min: 1}
        weight: {type: number}
        gift: {type: boolean}
        address: {type: object, pii: contact, properties: {city: {type: string, required: true}}}
        products: {type: array, max_length: 3, items: {type: object, properties: {sku: {type: string, required: true}}}}
    $identify:
      traits:
        email: {type: string, pii: contact, required: true}
      unknown_properties: allow
"""


def plan(text: str = PLAN, **changed: Any) -> TrackingPlan:
    [found] = load_yaml(text, "plan.yaml")
    assert isinstance(found, TrackingPlan)
    return found.model_copy(update={"spec": found.spec.model_copy(update=changed)})


def check(properties: dict[str, Any], *, name: str = "Đặt hàng", **changed: Any) -> PlanCheck:
    return CompiledPlan("default", plan(**changed).spec).check(event({"user_id": "u"}, id="1", name=name, properties=properties))


def violations_of(properties: dict[str, Any], **changed: Any) -> list[tuple[str, str, str]]:
    return [
        (violation.path, violation.rule, violation.kind) for violation in check({"total": "1", **properties}, **changed).violations
    ]


def test_event_matching_the_plan_passes() -> None:
    assert check(
        {
            "total": "1250000.50", "currency": "VND", "coupon": "TET2026", "at": "2026-02-17T00:00:00+07:00", "count": 2.0,
            "weight": 1, "gift": False, "address": {"city": "Huế"}, "products": [{"sku": "áo"}],
        }
    ) == PlanCheck()  # fmt: skip


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"total": None}, ("properties.total", "missing", "null")),
        ({"total": 12.5}, ("properties.total", "type", "number")),
        ({"total": "1,5"}, ("properties.total", "type", "text")),
        ({"total": "-0.01"}, ("properties.total", "min", "text")),
        ({"total": "1000000000"}, ("properties.total", "max", "text")),
        ({"currency": "vnd"}, ("properties.currency", "enum", "text")),
        ({"coupon": "TET20"}, ("properties.coupon", "pattern", "text")),
        ({"at": "hôm qua"}, ("properties.at", "type", "text")),
        ({"at": "1750000000"}, ("properties.at", "type", "text")),
        ({"count": True}, ("properties.count", "type", "boolean")),
        ({"count": 1.5}, ("properties.count", "type", "number")),
        ({"count": 0}, ("properties.count", "min", "integer")),
        ({"gift": "yes"}, ("properties.gift", "type", "text")),
        ({"address": {}}, ("properties.address.city", "missing", "")),
        ({"address": {"city": "Huế", "ward": 1}}, ("properties.address.ward", "unknown", "integer")),
        ({"address": ["Huế"]}, ("properties.address", "type", "array")),
        ({"products": [{"sku": "a"}, {}, {}]}, ("properties.products[].sku", "missing", "")),
        ({"products": [{"sku": "a"}, 5]}, ("properties.products[]", "type", "integer")),
        ({"products": [{"sku": "a"}] * 4}, ("properties.products", "max_length", "array")),
        ({"màu": ["đỏ"]}, ("properties.màu", "unknown", "array")),
        ({"lan@cho-que.vn": 1}, ("properties.*", "unknown", "integer")),
        ({"ref 0912345678": 1}, ("properties.*", "unknown", "integer")),
    ],
)
def test_a_violation_names_path_rule_and_kind(properties: dict[str, Any], said: tuple[str, str, str]) -> None:
    assert violations_of(properties) == [said]


def test_empty_list_where_an_object_is_planned_is_absent() -> None:
    assert violations_of({"address": []}) == []
    required = plan(PLAN.replace("address: {type: object,", "address: {type: object, required: true,"))
    order = event({"user_id": "u"}, id="1", name="Đặt hàng", properties={"total": "1", "address": []})
    assert CompiledPlan("default", required.spec).check(order).violations == (
        PlanViolation("properties.address", "missing", "array"),
    )


def test_born_before_the_epoch_is_a_date() -> None:
    assert violations_of({"at": "1957-03-02"}) == []


def test_a_missing_property_is_told_from_a_null() -> None:
    assert check({}).violations == (PlanViolation("properties.total", "missing", ""),)


def test_unknown_events_and_properties_are_let_in_noted_or_stopped() -> None:
    assert check({}, name="Khác", unknown_events="allow") == PlanCheck()
    noted = check({}, name="Khác")
    assert noted == PlanCheck((PlanViolation("event", "unknown_event", ""),))
    assert check({}, name="Khác", unknown_events="block").blocking is not None
    assert violations_of({"extra": 1}, unknown_properties="allow") == []
    assert check({"total": "1", "extra": 1}).blocking is None
    assert check({"total": "1", "extra": 1}, unknown_properties="block").blocking == ("properties.extra", "unknown", "integer")


def test_an_events_own_word_on_unknown_properties_counts_more_than_the_plans() -> None:
    said = event({"user_id": "u"}, id="1", type="identify", traits={"email": "lan@cho-que.vn", "tên": "Lan"})
    assert CompiledPlan("default", plan().spec).check(said) == PlanCheck()


def test_an_events_name_is_the_same_in_either_form_of_unicode() -> None:
    assert check({"total": "1"}, name=unicodedata.normalize("NFD", "Đặt hàng")) == PlanCheck()


def test_names_that_clients_make_up_are_counted_as_one() -> None:
    made_up = {f"n{chr(97 + index)}": index for index in range(20)}
    paths = {metric_path(violation) for violation in check({"total": 1, **made_up}).violations}
    assert paths == {"properties.total", "properties.*"}


@pytest.mark.parametrize(
    ("spec", "cure"),
    [
        ("{type: string, pattern: '(?=x)'}", "not an RE2 expression"),
        ("{type: integer, pattern: x}", "pattern needs a type of"),
        ("{type: string, min: 1}", "min needs a type of"),
        ("{type: number, min: 2, max: 1}", "min is larger than max"),
        ("{type: array, properties: {a: {}}}", "properties needs a type of object"),
        ("{type: decimal}", "must be one of string"),
        ("{typ: string}", "did you mean `type`"),
        ("{items: {items: {items: {items: {items: {items: {}}}}}}}", "nested deeper"),
    ],
)
def test_invalid_tracking_plan_is_refused(spec: str, cure: str) -> None:
    events = f"{{E: {{properties: {{p: {spec}}}}}}}"
    text = f"{{apiVersion: onefold/v1, kind: TrackingPlan, metadata: {{name: a}}, spec: {{events: {events}}}}}"
    with pytest.raises(InvalidDefinition, match=cure):
        load_yaml(text, "plan.yaml")


def test_a_plan_survives_its_topic() -> None:
    assert kinds.decode_definition(kinds.encode_definition(plan()), "TrackingPlan/default") == plan()


def admission(**changed: Any) -> tuple[Admission, list[tuple[str, str, str, str]]]:
    noted: list[tuple[str, str, str, str]] = []
    made = Admission(count_violation=lambda *said: noted.append(said))
    made.replace_rules(admission_rules([plan(**changed)]))
    return made, noted


BAD = event({"user_id": "u"}, id="1", name="Đặt hàng", properties={"total": 1, "extra": 2})
MESSAGES = (PlanViolation("properties.total", "type", "integer"), PlanViolation("properties.extra", "unknown", "integer"))


def test_observing_counts_and_leaves_the_event_as_it_is_for_everyone_else() -> None:
    made, noted = admission()
    result = made.admit(BAD)
    assert isinstance(result, Event)
    assert result.violations == ()
    assert result.observed == MESSAGES
    assert noted == [
        ("default", "Đặt hàng", "properties.total", "type"),
        ("default", "Đặt hàng", "properties.*", "unknown"),
    ]
    assert decode(Event, encode(result)) == result


def test_annotating_notes_the_violations_on_the_event() -> None:
    result = admission(mode="annotate")[0].admit(BAD)
    assert isinstance(result, Event)
    assert result.violations == MESSAGES
    assert result.observed == ()
    assert decode(Event, encode(result)) == result


def test_blocking_names_reason_and_path_but_no_value() -> None:
    made, noted = admission(mode="block")
    result = made.admit(BAD)
    assert result == Rejection(Reason.PLAN_VIOLATION, "is of another type than planned (type, integer)", "properties.total")
    assert len(noted) == 2
    mild = made.admit(event({"user_id": "u"}, id="1", name="Đặt hàng", properties={"total": "1", "extra": 2}))
    assert isinstance(mild, Event)
    assert mild.violations == MESSAGES[1:]


def test_another_sources_events_are_left_alone_and_unknown_names_are_not_counted_by_name() -> None:
    made, noted = admission(mode="block", sources=("shop",))
    assert made.admit(BAD) == BAD
    made.admit(event({"user_id": "u"}, id="1", name="Bịa đặt", source="shop"))
    assert noted == [("shop", "*", "event", "unknown_event")]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["VND", "1.5", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["city", "sku", "x"]) | st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_NAMES = st.sampled_from(["total", "currency", "coupon", "at", "count", "weight", "gift", "address", "products"]) | st.text(
    max_size=90
)
PROPERTIES = st.dictionaries(_NAMES, _VALUES, max_size=30)


@settings(max_examples=rounds(quick=100, thorough=300), deadline=None)
@given(PROPERTIES, st.sampled_from(["Đặt hàng", "Khác"]))
def test_any_properties_give_bounded_violations_that_hold_no_value(properties: dict[str, Any], name: str) -> None:
    verdict = check(properties, name=name)
    assert verdict == check(dict(properties), name=name)
    assert len(verdict.violations) <= MAX_VIOLATIONS
    assert len(set(verdict.violations)) == len(verdict.violations)
    for path, rule, kind in verdict.violations:
        assert rule in RULE_DESCRIPTIONS
        assert kind in {"", "text", "integer", "number", "boolean", "array", "object", "null"}
        assert len(path) < 200
    assert verdict.blocking is None or verdict.blocking in verdict.violations


@settings(max_examples=rounds(quick=100, thorough=200), deadline=None)
@given(PROPERTIES)
def test_a_violation_of_type_is_of_the_kind_that_was_sent(properties: dict[str, Any]) -> None:
    for path, rule, kind in check(properties).violations:
        parts = path.split(".")
        if rule == "type" and len(parts) == 2 and "[" not in path:
            assert kind == json_kind(properties[parts[1]])


@settings(max_examples=rounds(quick=100, thorough=200), deadline=None)
@given(PROPERTIES)
def test_allowing_unknown_properties_only_removes_violations(properties: dict[str, Any]) -> None:
    few = set(check(properties, unknown_properties="allow").violations)
    assert not any(rule == "unknown" for _, rule, _ in few)
    many = check(properties).violations
    if len(many) < MAX_VIOLATIONS:
        assert few <= set(many)
