import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from domain.intake.rejection import Rejection
from domain.intake.webhook_mapping import WebhookDelivery, map_delivery
from domain.intake.webhook_spec import MappingSpec
from schemas.reasons import Reason


def mapping_of(text: str) -> MappingSpec:
    """Return a mapping with one event, to which these JSON fields are added."""
    return MappingSpec.model_validate(
        {"rules": [{"events": [{"type": "track", "identifiers": {"user_id": "u"}, "name": "X", **json.loads(text)}]}]}
    )


@pytest.mark.parametrize(
    ("value", "payload", "expected"),
    [
        ("$.a.b", {"a": {"b": 1}}, 1),
        ("$.a[1]", {"a": [1, 2]}, 2),
        ("$.a[2]", {"a": [1, 2]}, None),
        ("$.a[0]", {"a": {"0": 1}}, None),
        ("$.a.b", {"a": 1}, None),
        ('$["tên khách"].họ', {"tên khách": {"họ": "Lê"}}, "Lê"),
        ("$.a[*].b", {"a": [{"b": 1}, {}, {"b": 2}]}, [1, 2]),
        ("$.a[*].b[*]", {"a": [{"b": [1, 2]}, {"b": [3]}]}, [1, 2, 3]),
        ("$", {"a": 1}, {"a": 1}),
        ("text", {}, "text"),
        (7, {}, 7),
        (True, {}, True),
        ({"const": "$5"}, {}, "$5"),
        ({"const": {"a": [1]}}, {}, {"a": [1]}),
        ({"first": ["$.a", "$.b", "c"]}, {"b": 0}, 0),
        ({"first": ["$.a", "$.b", "c"]}, {}, "c"),
        ({"path": "$.a", "as": ["trim", "upper"]}, {"a": " đà nẵng "}, "ĐÀ NẴNG"),
        ({"path": "$.a", "as": ["lower"]}, {"a": ["Á", "B"]}, ["á", "b"]),
        ({"path": "$.a", "as": ["number"]}, {"a": " -12.50 "}, -12.5),
        ({"path": "$.a", "as": ["number"]}, {"a": "1970000"}, 1970000),
        ({"path": "$.a", "as": ["string"]}, {"a": 7}, "7"),
        ({"path": "$.a", "as": ["string"]}, {"a": 7.5}, "7.5"),
        ({"path": "$.a", "as": ["iso"]}, {"a": "2025-06-15T20:31:07+07:00"}, "2025-06-15T13:31:07.000Z"),
        ({"path": "$.a", "as": ["epoch_seconds"]}, {"a": "1750000000"}, "2025-06-15T15:06:40.000Z"),
        ({"path": "$.a", "as": ["epoch_ms"]}, {"a": 1750000000001}, "2025-06-15T15:06:40.001Z"),
        ({"path": "$.a", "as": ["number"]}, {"a": "1.250"}, 1.25),
        ({"path": "$.a", "as": ["number"]}, {"a": "VND 1,250,000"}, 1250000),
        ({"path": "$.a", "as": ["number"], "decimal": ","}, {"a": "1.250.000,5 ₫"}, 1250000.5),
        ({"path": "$.a", "as": ["iso"]}, {"a": "Sun, 15 Jun 2025 13:31:07 +0000"}, "2025-06-15T13:31:07.000Z"),
        ({"path": "$.a", "as": ["iso"], "zone": "Asia/Ho_Chi_Minh"}, {"a": "2025-06-15 20:31:07"}, "2025-06-15T13:31:07.000Z"),
        ({"path": "$.a", "as": ["iso"], "day_first": True}, {"a": "15/06/2025 20:31"}, "2025-06-15T20:31:00.000Z"),
        ({"path": "$.a", "as": ["iso"], "date_format": "%d/%m/%y"}, {"a": "15/06/25"}, "2025-06-15T00:00:00.000Z"),
        ({"path": "$.a", "as": ["number"]}, {}, None),
        ({"path": "$.a", "default": "x"}, {}, "x"),
        ({"path": "$.a", "map": {"1": "one", "on": True}}, {"a": 1}, "one"),
        ({"path": "$.a", "map": {"1": "one", "on": True}}, {"a": "on"}, True),
        ({"path": "$.a", "map": {"1": "one"}, "default": 0}, {"a": "2"}, 0),
        ({"path": "$.a", "map": {"1": "one"}}, {"a": [1]}, None),
        ({"each": "$.a[*]", "fields": {"x.y": "@.b", "z": "$.c"}}, {"a": [{"b": 1}], "c": 2}, [{"x": {"y": 1}, "z": 2}]),
        ({"each": "$.a", "fields": {"x": "@"}}, {"a": [5]}, [{"x": 5}]),
        ({"each": "$.a", "fields": {"x": "@"}}, {}, []),
        ({"each": "$.a[*].b[*]", "fields": {"x": "@.c"}}, {"a": [{"b": [{"c": 1}, {"c": 2}]}, {"b": []}, {"b": [{"c": 3}]}]},
         [{"x": 1}, {"x": 2}, {"x": 3}]),
        ({"first": ["$.a", "$.b", "c"]}, {"a": "", "b": " "}, "c"),
        ({"join": ["haravan", "$.a", "$.b"]}, {"a": 7, "b": "x"}, "haravan-7-x"),
        ({"join": ["$.a", "$.b"], "with": " "}, {"a": "Nguyễn", "b": "Tuyết"}, "Nguyễn Tuyết"),
        ({"join": ["$.a", "$.b"], "as": ["upper"]}, {"a": "đ", "b": 1}, "Đ-1"),
        ({"join": ["$.a", "$.b"]}, {"a": 1}, None),
        ({"join": ["$.a", "$.b"]}, {"a": 1, "b": ""}, None),
        ({"join": ["$.a"], "as": ["hash"]}, {"a": "0912345678"}, "c747679c057f6169b858953eecce9006"),
        ({"path": "$.a", "as": ["seconds"]}, {"a": "00:04:19"}, 259),
        ({"path": "$.a", "as": ["seconds"]}, {"a": "259"}, 259),
        ({"path": "$.a", "as": ["seconds"]}, {"a": "0:00:01.5"}, 1.5),
        ({"path": "$.a", "as": ["milliseconds"]}, {"a": 259000}, 259),
        ({"path": "$.a", "as": ["milliseconds"]}, {"a": "1500"}, 1.5),
        ({"path": "$.a", "as": ["phone"]}, {"a": "tel:+84912345678"}, "+84912345678"),
        ({"path": "$.a", "as": ["phone"]}, {"a": "sip:0912345678@10.0.0.1;transport=udp"}, "0912345678"),
        ({"path": "$.a", "as": ["phone"]}, {"a": "SIPS:+84912345678"}, "+84912345678"),
        ({"path": "$.a", "as": ["phone"]}, {"a": "client:lan"}, "client:lan"),
        ({"path": "$.a", "as": ["phone"]}, {"a": 84912345678}, "84912345678"),
        ({"path": "$.a", "map": {"true": "yes", "false": "no"}}, {"a": False}, "no"),
        ({"path": "$.a", "as": ["iso"]}, {"a": "Sun, 15 Jun 2025 02:04:31 +0000"}, "2025-06-15T02:04:31.000Z"),
        ({"path": "$.a", "as": ["iso"], "zone": "Asia/Ho_Chi_Minh"}, {"a": "2025-06-15 09:00:00"}, "2025-06-15T02:00:00.000Z"),
        ("$headers.X-Topic", {}, "orders/create"),
        ({"first": ["$headers.x-none", "$query.shop"]}, {}, "thu"),
    ],
)  # fmt: skip
def test_a_value_of_the_mapping_reads_the_payload(value: Any, payload: Any, expected: Any) -> None:
    delivery = WebhookDelivery(payload, headers={"x-topic": "orders/create"}, query={"shop": "thu"})
    result = map_delivery(mapping_of(json.dumps({"properties": {"it": value}})), delivery, 10)
    assert isinstance(result, list)
    assert result[0].get("properties", {}).get("it") == expected


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        ("number", "12a"), ("number", True), ("number", "1.250.000"), ("number", "1_000"), ("number", "9" * 5000), ("number", {}),
        ("lower", 5), ("trim", {}), ("string", {}), ("string", True), ("iso", "soon"), ("iso", 1e300), ("epoch_seconds", -1),
        ("epoch_seconds", 1e15), ("epoch_ms", "x"), ("epoch_ms", 10**30),
    ],
)  # fmt: skip
def test_a_transform_that_fails_names_its_path(transform: str, value: Any) -> None:
    result = map_delivery(
        mapping_of(json.dumps({"properties": {"it": {"path": "$.a.b", "as": [transform]}}})),
        WebhookDelivery({"a": {"b": value}}),
        10,
    )
    assert isinstance(result, Rejection)
    assert result.reason == Reason.WRONG_TYPE
    assert result.path == "$.a.b"
    assert "properties.it" in result.detail


@pytest.mark.parametrize(
    ("condition", "payload", "applies"),
    [
        ({"$.a": {"exists": True}}, {"a": 0}, True), ({"$.a": {"exists": True}}, {"a": ""}, False),
        ({"$.a": {"exists": True}}, {}, False), ({"$.a": {"exists": False}}, {"a": None}, True),
        ({"$.a": {"exists": False}}, {"a": " "}, True), ({"$.a": {"exists": False}}, {"a": False}, False),
        ({"$.a": {"starts_with": "client:"}}, {"a": "client:lan"}, True),
        ({"$.a": {"starts_with": ["client:", "sip:"]}}, {"a": "sip:1@x"}, True),
        ({"$.a": {"starts_with": "client:"}}, {"a": "+84"}, False), ({"$.a": {"starts_with": "1"}}, {"a": 1}, False),
        ({"$.a": {"not": "x"}}, {"a": "y"}, True), ({"$.a": {"not": "x"}}, {}, True),
        ({"$.a": {"not": ["x", "y"]}}, {"a": "y"}, False),
        ({"$.a": {"not": None}}, {"a": 1}, True), ({"$.a": {"not": None}}, {}, False),
        ({"$headers.X-Topic": "orders/create"}, {}, True), ({"$headers.x-topic": "orders/paid"}, {}, False),
        ({"$query.shop": ["thu", "hue"]}, {}, True),
    ],
)  # fmt: skip
def test_a_condition_tests_more_than_being_equal(condition: Any, payload: Any, applies: bool) -> None:
    event = {"type": "track", "identifiers": {"user_id": "u"}, "name": "X"}
    delivery = WebhookDelivery(payload, headers={"x-topic": "orders/create"}, query={"shop": "thu"})
    of_rule = [{"when": condition, "events": [event]}, {"ignore": True}]
    of_event = [{"events": [{**event, "when": condition}]}]
    for rules in (of_rule, of_event):
        mapping = MappingSpec.model_validate({"rules": rules})
        assert MappingSpec.model_validate_json(mapping.model_dump_json(by_alias=True)) == mapping
        result = map_delivery(mapping, delivery, 10)
        assert isinstance(result, list)
        assert bool(result) == applies


def test_events_of_an_element_are_made_by_its_own_condition() -> None:
    event = {"type": "track", "identifiers": {"user_id": "@.who"}, "name": "Paid"}
    rule = {"each": "$.days[*].orders[*]", "events": [{**event, "when": {"@.status": 1}}]}
    payload = {
        "days": [{"orders": [{"who": "a", "status": 1}, {"who": "b", "status": 2}]}, {"orders": [{"who": "c", "status": 1}]}]
    }
    result = map_delivery(MappingSpec.model_validate({"rules": [rule]}), WebhookDelivery(payload), 10)
    assert isinstance(result, list)
    assert [call["identifiers"]["user_id"] for call in result] == ["a", "c"]
    broken = map_delivery(MappingSpec.model_validate({"rules": [rule]}), WebhookDelivery({"days": [{"orders": {}}]}), 10)
    assert isinstance(broken, Rejection)
    assert (broken.reason, broken.path) == (Reason.WRONG_TYPE, "$.days[*].orders[*]")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "$headers.authorization"}, {"name": '$headers["Cookie"]'}, {"name": "$headers"}, {"name": "$headers.a.b"},
        {"name": "$query.a[0]"}, {"when": {"$.a": {"starts_with": "x", "exists": True}}}, {"when": {"$.a": {}}},
        {"when": {"$.a": {"like": "x"}}}, {"identifiers": {}}, {"name": {"join": []}}, {"name": {"join": ["a"], "as": ["number"]}},
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mapping_of(json.dumps(wrong))


def test_a_call_needs_no_identifiers_beside_its_number() -> None:
    mapping = mapping_of('{"type": "call_ended", "identifiers": {}, "properties": {"call_id": "$.id", "caller_number": "$.from"}}')
    result = map_delivery(mapping, WebhookDelivery({"id": "c-1", "from": "0912345678"}), 10)
    assert isinstance(result, list)
    assert result[0]["properties"] == {"call_id": "c-1", "caller_number": "0912345678"}


def test_the_first_rule_that_applies_decides() -> None:
    event = {"type": "track", "identifiers": {"user_id": "u"}}
    mapping = MappingSpec.model_validate(
        {
            "rules": [
                {"when": {"$.a": 1, "$.b": ["x", "y"]}, "events": [{**event, "name": "both"}]},
                {"when": {"$.a": True}, "events": [{**event, "name": "true"}]},
                {"when": {"$.a": None}, "ignore": True},
                {"events": [{**event, "name": "else"}]},
            ]
        }
    )
    for payload, name in (({"a": 1, "b": "y"}, "both"), ({"a": 1, "b": "z"}, "else"), ({"a": True}, "true"), ({"a": "1"}, "else")):
        result = map_delivery(mapping, WebhookDelivery(payload), 10)
        assert isinstance(result, list)
        assert result[0]["event"] == name
    assert map_delivery(mapping, WebhookDelivery({}), 10) == []


class CountedList(list[Any]):
    """A list that counts how often it is read."""

    reads = 0

    def __iter__(self) -> Iterator[Any]:
        type(self).reads += 1
        return super().__iter__()


def test_what_every_event_takes_of_the_whole_payload_is_read_once() -> None:
    mapping = MappingSpec.model_validate(
        {"rules": [{"each": "$.items[*]", "events": [
            {"type": "track", "name": "X", "identifiers": {"user_id": "@.id"},
             "properties": {"all": "$.items[*].id", "low": {"path": "$.items[*].id", "as": ["lower"]}}}
        ]}]}
    )  # fmt: skip
    CountedList.reads = 0
    calls = map_delivery(mapping, WebhookDelivery({"items": CountedList([{"id": f"A{number}"} for number in range(100)])}), 100)
    assert isinstance(calls, list)
    assert calls[7]["properties"] == {"all": [f"A{n}" for n in range(100)], "low": [f"a{n}" for n in range(100)]}
    assert CountedList.reads < 10


def test_events_that_repeat_a_large_payload_are_refused_before_all_are_made() -> None:
    mapping = MappingSpec.model_validate(
        {"rules": [{"each": "$.items[*]", "events": [
            {"type": "track", "name": "X", "identifiers": {"user_id": "u"}, "properties": {"note": "$.note"}}
        ]}]}
    )  # fmt: skip
    payload = {"note": "x" * 1_000_000, "items": [1] * 2_500}
    rejection = map_delivery(mapping, WebhookDelivery(payload), 2_500, 4_000_000)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.path) == (Reason.TOO_LARGE, "$.items[*]")
