from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.call_centre import MAX_NOTE_CHARS
from domain.intake.parse import parse_call
from domain.intake.rejection import Rejection
from schemas.codec import decode, encode
from schemas.events import CALL_TYPES, NOBODY, CallType, Event
from schemas.reasons import Reason

NOW_MS = 1_750_000_000_000
NEEDED: dict[str, dict[str, Any]] = {
    "call_disposition": {"disposition": "hẹn gọi lại"},
    "callback_scheduled": {"scheduled_at": "2025-06-16T09:00:00+07:00"},
    "note_added": {"note": "Khách hỏi size áo dài"},
}


def parse(call: Any) -> Event | Rejection:
    return parse_call(
        call,
        call_type=None,
        source="default",
        trust="trusted",
        received_ms=NOW_MS,
        sent_ms=None,
        secret=b"test-secret-of-16",
        country="VN",
        default_id="given",
    )


def parsed_event(call: Any) -> Event:
    result = parse(call)
    assert isinstance(result, Event), result
    return result


def call_of_type(call_type: str, **fields: Any) -> dict[str, Any]:
    """Return a valid event of the type with these fields changed."""
    return {"type": call_type, "call_id": "c-1", "caller_number": "0912 345 678", **NEEDED.get(call_type, {}), **fields}


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_each_type_becomes_an_event_of_its_own(call_type: CallType) -> None:
    event = parsed_event(
        call_of_type(call_type, agent="lan.nguyễn", queue="Bán hàng", direction="inbound", wait_seconds=3, talk_seconds=0.5)
    )
    assert event.type == call_type
    assert event.name == ""
    assert event.traits == {}
    assert event.identifiers == (("caller_number", "+84912345678"),)
    expected = {
        "call_id": "c-1",
        "caller_number": "+84912345678",
        "agent": "lan.nguyễn",
        "queue": "Bán hàng",
        "direction": "inbound",
        "wait_seconds": 3,
        "talk_seconds": 0.5,
        **NEEDED.get(call_type, {}),
    }
    if call_type == "callback_scheduled":
        expected["scheduled_at"] = "2025-06-16T02:00:00.000Z"
    assert event.properties == expected


def test_it_is_the_same_flat_or_in_properties_in_snake_or_camel_case() -> None:
    flat = call_of_type("call_ended", talk_seconds=9, order_id=17, user_id="KH-7", extra={"recording": "r"})
    camel = {
        "type": "call_ended",
        "callId": "c-1",
        "callerNumber": "0912 345 678",
        "talkSeconds": 9,
        "orderId": "17",
        "userId": "KH-7",
        "extra": {"recording": "r"},
    }
    inside = {"type": "call_ended", "properties": {name: value for name, value in flat.items() if name != "type"}}
    assert parsed_event(flat) == parsed_event(camel) == parsed_event(inside)
    assert parsed_event(flat).properties["extra"] == {"recording": "r"}
    assert "user_id" not in parsed_event(flat).properties


def test_top_level_fields_override_properties() -> None:
    assert (
        parsed_event(call_of_type("call_ended", agent="lan", properties={"agent": "mai", "queue": "q"})).properties["agent"]
        == "lan"
    )


def test_an_agent_may_know_who_it_is() -> None:
    event = parsed_event(
        call_of_type("call_connected", user_id=7, crm_id="CRM-1", phone="0987650321", email="Lan@Thu.VN", anonymousId="a1")
    )
    assert event.identifiers == (
        ("anonymous_id", "a1"),
        ("caller_number", "+84912345678"),
        ("crm_id", "CRM-1"),
        ("email", "lan@thu.vn"),
        ("phone", "+84987650321"),
        ("user_id", "7"),
    )
    assert not {"user_id", "crm_id", "phone", "email"} & set(event.properties)


def test_a_withheld_number_names_nobody() -> None:
    event = parsed_event(call_of_type("call_started", caller_number="anonymous", crm_id="CRM-1"))
    assert event.identifiers == (("crm_id", "CRM-1"),)
    assert event.properties["caller_number"] == "anonymous"


WITHHELD = [
    "anonymous", "Anonymous", "Restricted", "private", "unknown", "<unknown>", "Không rõ số", "số ẩn", "0", "-1", "null", "101",
    "+266696687", "266696687", " 266696687", "+7378742833", "+2562533", "8656696", "+86282452253", "+7748283",
]  # fmt: skip


@pytest.mark.parametrize("call_type", CALL_TYPES)
@pytest.mark.parametrize("number", WITHHELD)
def test_call_with_a_withheld_number_is_nobodys_and_keeps_the_number_as_it_was_sent(call_type: CallType, number: str) -> None:
    event = parsed_event(call_of_type(call_type, caller_number=number, talk_seconds=95))
    assert (event.owner, event.nodes, event.identifiers) == (NOBODY, (), ())
    assert event.properties["caller_number"] == number.strip()
    assert event.properties["talk_seconds"] == 95
    assert event.id == parsed_event(call_of_type(call_type)).id
    assert decode(Event, encode(event)) == event


@pytest.mark.parametrize("fields", [{"caller_number": ""}, {"caller_number": " "}, {"caller_number": None}, {"callerNumber": ""}])
def test_number_that_is_not_sent_is_a_withheld_number(fields: dict[str, Any]) -> None:
    event = parsed_event({**call_of_type("call_started", caller_number=None), **fields})
    assert event.owner == NOBODY
    assert "caller_number" not in event.properties


def test_withheld_number_among_the_identifiers_names_nobody() -> None:
    event = parsed_event(call_of_type("call_started", caller_number=None, identifiers={"caller_number": "+266696687"}))
    assert event.owner == NOBODY
    known = parsed_event({"type": "track", "event": "Gọi", "userId": "u1", "identifiers": {"caller_number": "+266696687"}})
    assert known.identifiers == (("user_id", "u1"),)


def test_note_without_a_call_and_without_a_customer_is_refused() -> None:
    result = parse(call_of_type("note_added", call_id=None, caller_number="anonymous"))
    assert isinstance(result, Rejection)
    assert result.reason == Reason.NO_IDENTIFIER


@pytest.mark.parametrize(
    ("call_type", "fields", "reason", "path"),
    [
        ("call_started", {"call_id": None}, Reason.MISSING_FIELD, "properties.call_id"),
        ("call_started", {"call_id": " "}, Reason.MISSING_FIELD, "properties.call_id"),
        ("call_started", {"call_id": ["c"]}, Reason.WRONG_TYPE, "properties.call_id"),
        ("call_started", {"call_id": "c" * 129}, Reason.WRONG_TYPE, "properties.call_id"),
        ("call_started", {"sequence": 1.5}, Reason.WRONG_TYPE, "properties.sequence"),
        ("call_started", {"caller_number": {}}, Reason.WRONG_TYPE, "properties.caller_number"),
        ("call_started", {"agent": True}, Reason.WRONG_TYPE, "properties.agent"),
        ("call_started", {"queue": "q" * 257}, Reason.WRONG_TYPE, "properties.queue"),
        ("call_started", {"direction": "sideways"}, Reason.WRONG_TYPE, "properties.direction"),
        ("call_started", {"direction": ["inbound"]}, Reason.WRONG_TYPE, "properties.direction"),
        ("call_connected", {"wait_seconds": "a while"}, Reason.WRONG_TYPE, "properties.wait_seconds"),
        ("call_connected", {"wait_seconds": True}, Reason.WRONG_TYPE, "properties.wait_seconds"),
        ("call_ended", {"talk_seconds": -1}, Reason.WRONG_TYPE, "properties.talk_seconds"),
        ("call_ended", {"talkSeconds": -1}, Reason.WRONG_TYPE, "properties.talk_seconds"),
        ("call_disposition", {"disposition": None}, Reason.MISSING_FIELD, "properties.disposition"),
        ("call_disposition", {"disposition": 1.5}, Reason.WRONG_TYPE, "properties.disposition"),
        ("call_ended", {"order_id": {"id": 1}}, Reason.WRONG_TYPE, "properties.order_id"),
        ("callback_scheduled", {"scheduled_at": None}, Reason.MISSING_FIELD, "properties.scheduled_at"),
        ("callback_scheduled", {"scheduled_at": "tomorrow"}, Reason.WRONG_TYPE, "properties.scheduled_at"),
        ("note_added", {"note": ""}, Reason.MISSING_FIELD, "properties.note"),
        ("note_added", {"note": 1.5}, Reason.WRONG_TYPE, "properties.note"),
        ("note_added", {"note": "n" * (MAX_NOTE_CHARS + 1)}, Reason.WRONG_TYPE, "properties.note"),
        ("call_started", {"user_id": []}, Reason.WRONG_TYPE, "identifiers.user_id"),
        ("call_started", {"email": 1.5}, Reason.WRONG_TYPE, "identifiers.email"),
        ("call_started", {"properties": ["a"]}, Reason.WRONG_TYPE, "properties"),
        ("call_started", {"identifiers": ["a"]}, Reason.WRONG_TYPE, "identifiers"),
        ("call_started", {"timestamp": "yesterday"}, Reason.WRONG_TYPE, "timestamp"),
    ],
)
def test_a_wrong_field_is_named(call_type: str, fields: dict[str, Any], reason: Reason, path: str) -> None:
    result = parse(call_of_type(call_type, **fields))
    assert isinstance(result, Rejection)
    assert result.reason == reason
    assert result.path == path


@pytest.mark.parametrize("call_type", CALL_TYPES)
def test_the_same_event_again_has_the_same_message_id(call_type: CallType) -> None:
    first, again = parsed_event(call_of_type(call_type)), parsed_event(call_of_type(call_type, timestamp=NOW_MS - 5, extra="x"))
    assert first.id == again.id
    assert first.id.startswith(f"c-1:{call_type}")
    others = {parsed_event(call_of_type(other)).id for other in CALL_TYPES} | {
        parsed_event(call_of_type(call_type, call_id="c-2")).id
    }
    assert len(others) == len(CALL_TYPES) + 1


def test_message_ids_tell_apart_what_may_happen_twice_in_a_call() -> None:
    assert parsed_event(call_of_type("note_added")).id != parsed_event(call_of_type("note_added", note="Khách đổi ý")).id
    assert (
        parsed_event(call_of_type("call_connected", agent="lan")).id != parsed_event(call_of_type("call_connected", agent="mai")).id
    )
    assert parsed_event(call_of_type("call_started", sequence=1)).id == "c-1:call_started:1"
    assert parsed_event(call_of_type("note_added", sequence="2")).id == "c-1:note_added:2"
    assert parsed_event(call_of_type("call_started", messageId="m1")).id == "m1"
    assert parsed_event(call_of_type("note_added", call_id=None)).id == "given"


@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_field_is_absent(blank: str | None) -> None:
    fields = ("direction", "wait_seconds", "talk_seconds", "scheduled_at", "agent", "order_id", "timestamp")
    assert parsed_event(call_of_type("call_ended", **dict.fromkeys(fields, blank))) == parsed_event(call_of_type("call_ended"))


def test_empty_list_for_an_object_is_absent() -> None:
    empty: dict[str, Any] = {"properties": [], "identifiers": [], "context": [], "traits": []}
    assert parsed_event(call_of_type("call_ended", **empty)) == parsed_event(call_of_type("call_ended"))


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
_NAMES = [
    "call_id", "callId", "sequence", "caller_number", "agent", "queue", "direction", "wait_seconds", "talk_seconds", "disposition",
    "order_id", "scheduled_at", "note", "user_id", "userId", "crm_id", "email", "phone", "identifiers", "messageId", "other",
]  # fmt: skip


@given(st.sampled_from(CALL_TYPES), st.dictionaries(st.sampled_from(_NAMES), _ANY), st.dictionaries(st.sampled_from(_NAMES), _ANY))
def test_whatever_the_fields_hold_it_is_an_event_or_a_reason(
    call_type: str, beside: dict[str, Any], inside: dict[str, Any]
) -> None:
    call = {"type": call_type, "userId": "u1", **beside, "properties": inside}
    assert parse(call) == parse(call)


@pytest.mark.parametrize(
    ("field", "written", "expected"),
    [
        ("talk_seconds", "95", 95), ("talk_seconds", " 95.5 ", 95.5), ("wait_seconds", "00:04:19", 259),
        ("wait_seconds", "4:19", 259),
        ("talk_seconds", "1.02:00:00", 93_600), ("talk_seconds", 95.0, 95.0), ("direction", "outbound-api", "outbound"),
        ("direction", "outbound-dial", "outbound"), ("direction", "Inbound", "inbound"), ("direction", "in", "inbound"),
        ("direction", "OUT", "outbound"), ("direction", "incoming", "inbound"), ("direction", " outgoing ", "outbound"),
    ],
)  # fmt: skip
def test_what_telephone_systems_write_is_read(field: str, written: Any, expected: Any) -> None:
    event = parsed_event(call_of_type("call_ended", caller_number="0912345678", **{field: written}))
    assert event.properties[field] == expected
    assert type(event.properties[field]) is type(expected)
