"""Intake over all JSON values: total, deterministic, and what it makes is an event by the published JSON Schema as well."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.topic_documents import record_schema
from domain.intake.parse import parse_call
from domain.intake.rejection import Rejection
from domain.intake.touchpoints import parse_touchpoint
from schemas.codec import Undecodable, decode, encode
from schemas.events import EVENT_TYPES, NOBODY, Event
from tests.support.rounds import rounds

EVENT_SCHEMA = Draft202012Validator(orjson.loads(record_schema("Event")))
_TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates too
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63 - 2, 2**64 + 2)
    | st.floats()
    | _TEXT
    | st.sampled_from(["null", "u1", "lan@cho-que.vn", "+84912345678", "Ánh", "2025-06-15T10:00:00Z", "2024-060T24:00", "track"])
)  # fmt: skip
_JSON = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8)
_FIELDS = (
    "type", "event", "name", "category", "userId", "anonymousId", "previousId", "groupId", "messageId", "timestamp",
    "originalTimestamp", "sentAt", "properties", "traits", "context", "identifiers", "source",
)  # fmt: skip
_OBJECTS = st.dictionaries(
    st.sampled_from(["email", "phone", "crm_id", "caller_number", "device", "traits", "a"]), _JSON, max_size=3
)
_LIKELY = st.fixed_dictionaries(
    {"type": st.sampled_from(EVENT_TYPES), "event": st.just("Order Completed"), "previousId": st.text(max_size=5)},
    optional={
        "userId": st.text(max_size=8) | st.integers(),
        "anonymousId": st.text(max_size=8),
        "groupId": st.text(max_size=8),
        "messageId": st.text(max_size=300),
        "timestamp": st.datetimes().map(lambda at: at.isoformat()) | st.integers(0, 2 * 10**12) | _LEAVES,
        "properties": _OBJECTS,
        "traits": _OBJECTS,
        "context": _OBJECTS,
    },
)
CALLS = _JSON | st.dictionaries(st.sampled_from(_FIELDS), _JSON | _OBJECTS, max_size=8) | _LIKELY


def parse(call: Any) -> Event | Rejection:
    return parse_call(
        call,
        call_type=None,
        source="default",
        trust="trusted",
        received_ms=1_750_000_000_000,
        sent_ms=None,
        secret=b"k" * 16,
        country="VN",
        default_id="d",
    )


def struct(value: bytes) -> Event | None:
    try:
        return decode(Event, value)
    except Undecodable:
        return None


@settings(max_examples=rounds(quick=100, thorough=400), deadline=None)
@given(CALLS)
def test_any_json_value_gives_an_event_or_a_rejection(call: Any) -> None:
    before = copy.deepcopy(call)
    result = parse(call)
    assert repr(call) == repr(before)
    if isinstance(result, Rejection):
        assert result.detail
        return
    assert result == parse(copy.deepcopy(call))
    value = encode(result)
    assert struct(value) == result
    EVENT_SCHEMA.validate(orjson.loads(value))
    assert 0 <= result.time_ms <= result.received_ms
    assert list(result.identifiers) == sorted(set(result.identifiers))
    assert result.owner in (result.nodes or [NOBODY])


@settings(max_examples=rounds(quick=100, thorough=200), deadline=None)
@given(
    st.binary(max_size=60) | st.lists(CALLS, min_size=1, max_size=3).map(lambda calls: b"\n".join(_dumped(call) for call in calls))
)
def test_any_bytes_give_results_that_depend_on_them_alone(value: bytes) -> None:
    def results() -> list[Event | Rejection]:
        return parse_touchpoint(
            value,
            record_id="t-0-1",
            sources={},
            received_ms=1_750_000_000_000,
            secret=b"k" * 16,
            country="VN",
            max_event_bytes=10_000,
        )

    first = results()
    assert first
    assert first == results()


def _dumped(call: Any) -> bytes:
    try:
        return orjson.dumps(call)
    except TypeError:
        return b"{"


VALID: dict[str, Any] = {
    "version": 1, "id": "m1", "type": "track", "name": "X", "source": "default", "time_ms": 5, "received_ms": 6, "owner": "0" * 32,
    "nodes": ["0" * 32], "identifiers": [["user_id", "u1"]], "properties": {"tên": "Ánh"}, "traits": {}, "context": {},
    "flags": ["bot"], "violations": [["properties.total", "missing", ""]], "observed": [],
}  # fmt: skip


@settings(max_examples=rounds(quick=100, thorough=300), deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(VALID)), _JSON, max_size=2), st.sets(st.sampled_from(sorted(VALID)), max_size=1))
def test_struct_and_json_schema_of_the_event_accept_the_same_documents(changed: dict[str, Any], missing: set[str]) -> None:
    document = {name: changed.get(name, value) for name, value in VALID.items() if name not in missing}
    try:
        value = orjson.dumps(document)
    except TypeError:
        return
    decoded, is_valid = struct(value), EVENT_SCHEMA.is_valid(orjson.loads(value))
    if decoded is None:
        assert not is_valid or outside_json_schema(document)
    else:
        assert is_valid or outside_bounds(decoded)


def outside_json_schema(document: dict[str, Any]) -> bool:
    """Return whether the document breaks a rule beyond JSON Schema: 64 bits, whole numbers as such, owner and nodes."""

    def has_large_integer(value: Any) -> bool:
        if isinstance(value, dict):
            return any(has_large_integer(item) for item in value.values())
        if isinstance(value, list):
            return any(has_large_integer(item) for item in value)
        return isinstance(value, int) and not -(2**63) <= value < 2**64

    return (
        has_large_integer(document)
        or any(isinstance(document[name], float) for name in ("version", "time_ms", "received_ms"))
        or len(document["nodes"]) != len(document["identifiers"])
        or document["owner"] not in (document["nodes"] or [NOBODY])
    )


def outside_bounds(event: Event) -> bool:
    """Return whether the event breaks a bound of values that only the JSON Schema states."""
    return (
        not 1 <= len(event.id) <= 256
        or len(event.name) > 512
        or not 1 <= len(event.source) <= 128
        or min(event.time_ms, event.received_ms) < 0
        or len(event.owner) not in (0, 32)
        or bool(set(event.owner) - set("0123456789abcdef"))
        or not all(1 <= len(flag) <= 64 for flag in event.flags)
    )


@pytest.mark.parametrize("name", sorted(VALID.keys() - {"flags", "violations", "observed"}))
def test_struct_and_json_schema_need_every_field_of_the_first_version(name: str) -> None:
    value = orjson.dumps({field: content for field, content in VALID.items() if field != name})
    assert struct(value) is None
    assert not EVENT_SCHEMA.is_valid(orjson.loads(value))
