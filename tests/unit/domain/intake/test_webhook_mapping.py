import json
from typing import Any

import pytest

from domain.intake.rejection import Rejection
from domain.intake.webhook_mapping import map_payload
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
    ],
)  # fmt: skip
def test_a_value_of_the_mapping_reads_the_payload(value: Any, payload: Any, expected: Any) -> None:
    result = map_payload(mapping_of(json.dumps({"properties": {"it": value}})), payload, 10)
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
    result = map_payload(
        mapping_of(json.dumps({"properties": {"it": {"path": "$.a.b", "as": [transform]}}})), {"a": {"b": value}}, 10
    )
    assert isinstance(result, Rejection)
    assert result.reason == Reason.WRONG_TYPE
    assert result.path == "$.a.b"
    assert "properties.it" in result.detail


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
        result = map_payload(mapping, payload, 10)
        assert isinstance(result, list)
        assert result[0]["event"] == name
    assert map_payload(mapping, {}, 10) == []
