import json
from typing import Any

import pytest

from domain.intake.parse import MAX_ID_CHARS, parse_call
from domain.intake.rejection import Rejection
from domain.intake.touchpoints import parse_touchpoint
from schemas.events import EVENT_VERSION, Event
from schemas.identifiers import node
from schemas.reasons import Reason

SECRET = b"test-secret-of-16"
NOW_MS = 1_750_000_000_000
AT = "2025-06-15T15:06:40Z"  # NOW


def parse(call: Any, *, kind: str | None = None, sent_ms: int | None = None) -> Event | Rejection:
    return parse_call(
        call,
        call_type=kind,
        source="default",
        trust="trusted",
        received_ms=NOW_MS,
        sent_ms=sent_ms,
        secret=SECRET,
        country="VN",
        default_id="given",
    )


def parsed_event(call: Any, **more: Any) -> Event:
    result = parse(call, **more)
    assert isinstance(result, Event), result
    return result


def refused(call: Any, **more: Any) -> Rejection:
    result = parse(call, **more)
    assert isinstance(result, Rejection), result
    return result


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u1", "event": "Order Completed", "messageId": "m1", **fields}


def test_a_track_call_becomes_an_event() -> None:
    event = parsed_event(track(properties={"name": "Áo dài Huế"}, context={"locale": "vi-VN"}))
    assert event == Event(
        version=EVENT_VERSION,
        id="m1",
        type="track",
        name="Order Completed",
        source="default",
        time_ms=NOW_MS,
        received_ms=NOW_MS,
        owner=node(SECRET, ("user_id", "u1")),
        nodes=(node(SECRET, ("user_id", "u1")),),
        identifiers=(("user_id", "u1"),),
        properties={"name": "Áo dài Huế"},
        traits={},
        context={"locale": "vi-VN"},
    )


def test_null_is_absent() -> None:
    nothing = dict.fromkeys(("anonymousId", "properties", "traits", "context", "timestamp", "identifiers", "sentAt"))
    assert parsed_event(track(**nothing)) == parsed_event(track())


@pytest.mark.parametrize("call_type", ["track", "identify", "page", "screen", "group", "alias"])
def test_empty_list_where_an_object_is_due_is_absent(call_type: str) -> None:
    call = track(type=call_type, name="Trang chủ", groupId="g1", previousId="a1")
    empty: dict[str, Any] = {"properties": [], "traits": [], "context": [], "identifiers": [], "integrations": []}
    assert parsed_event({**call, **empty}) == parsed_event(call)


@pytest.mark.parametrize("blank", ["", " "])
def test_blank_time_is_absent(blank: str) -> None:
    assert parsed_event(track(timestamp=blank, originalTimestamp=blank, sentAt=blank)) == parsed_event(track())
    assert parsed_event(track(timestamp=AT, originalTimestamp=blank)) == parsed_event(track(timestamp=AT))


def test_the_address_names_the_type() -> None:
    assert parsed_event({"userId": "u1", "type": "track"}, kind="page").type == "page"


@pytest.mark.parametrize(
    ("call", "reason", "path"),
    [
        (None, Reason.NOT_AN_OBJECT, ""),
        ([track()], Reason.NOT_AN_OBJECT, ""),
        ({"userId": "u1"}, Reason.MISSING_FIELD, "type"),
        (track(type=3), Reason.WRONG_TYPE, "type"),
        (track(type="dance"), Reason.UNKNOWN_TYPE, "type"),
        (track(event=None), Reason.MISSING_FIELD, "event"),
        (track(event=" "), Reason.MISSING_FIELD, "event"),
        (track(event=["x"]), Reason.WRONG_TYPE, "event"),
        (track(event="x" * 513), Reason.WRONG_TYPE, "event"),
        (track(type="page", name=1), Reason.WRONG_TYPE, "name"),
        (track(userId={"a": 1}), Reason.WRONG_TYPE, "userId"),
        (track(userId=True), Reason.WRONG_TYPE, "userId"),
        (track(userId=1.5), Reason.WRONG_TYPE, "userId"),
        (track(messageId=[]), Reason.WRONG_TYPE, "messageId"),
        (track(properties="x"), Reason.WRONG_TYPE, "properties"),
        (track(traits=["a"]), Reason.WRONG_TYPE, "traits"),
        (track(properties=[{}]), Reason.WRONG_TYPE, "properties"),
        (track(context=1), Reason.WRONG_TYPE, "context"),
        (track(timestamp="yesterday"), Reason.WRONG_TYPE, "timestamp"),
        (track(originalTimestamp={}, timestamp=AT), Reason.WRONG_TYPE, "originalTimestamp"),
        (track(userId=None), Reason.NO_IDENTIFIER, ""),
        (track(userId="null", anonymousId="undefined"), Reason.NO_IDENTIFIER, ""),
        (track(identifiers=["u1"]), Reason.WRONG_TYPE, "identifiers"),
        (track(identifiers={"passport": "B1"}), Reason.WRONG_TYPE, "identifiers"),
        (track(identifiers={"phone": {}}), Reason.WRONG_TYPE, "identifiers.phone"),
        (track(properties={"a": [float("nan")]}), Reason.WRONG_TYPE, "properties"),
        (track(properties={"a": float("inf")}), Reason.WRONG_TYPE, "properties"),
        (track(properties={"a": 2**64}), Reason.WRONG_TYPE, "properties"),
        (track(userId=2**64), Reason.WRONG_TYPE, "userId"),
        (track(messageId=-(2**63) - 1), Reason.WRONG_TYPE, "messageId"),
        (track(context={"a": "\ud800"}), Reason.WRONG_TYPE, "context"),
        (track(traits={"\udfff": 1}), Reason.WRONG_TYPE, "traits"),
        (track(event="\ud800"), Reason.WRONG_TYPE, ""),
        ({"type": "group", "userId": "u1"}, Reason.MISSING_FIELD, "groupId"),
        ({"type": "alias", "userId": "u1"}, Reason.MISSING_FIELD, "previousId"),
        ({"type": "alias", "previousId": "a1"}, Reason.MISSING_FIELD, "userId"),
    ],
)
def test_a_bad_call_is_rejected_with_its_reason_and_path(call: Any, reason: Reason, path: str) -> None:
    result = refused(call)
    assert result.reason == reason
    assert result.path == path
    assert result.detail


def test_nesting_is_bounded() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    assert parsed_event(track(properties={"a": nested(30)})).id == "m1"
    assert "deeper than 32" in refused(track(properties={"a": nested(31)})).detail
    assert "deeper than 32" in refused(track(properties={"a": nested(50_000)})).detail


def test_a_rejection_quotes_no_value() -> None:
    for call in (track(type="an@cho-que.vn"), track(timestamp="an@cho-que.vn"), track(properties={"an@cho-que.vn": 2**70})):
        assert "an@" not in str(refused(call))


def test_identifiers_come_from_every_place_of_an_identify_call() -> None:
    event = parsed_event(
        {
            "type": "identify",
            "userId": 42,
            "anonymousId": "cookie-1",
            "traits": {"email": "Lan@Cho-Que.VN", "phone": "0912 345 678", "name": "Nguyễn Thị Lan"},
            "context": {"device": {"id": "dev-1"}},
        }
    )
    assert event.identifiers == (
        ("anonymous_id", "cookie-1"), ("device_id", "dev-1"), ("email", "lan@cho-que.vn"), ("phone", "+84912345678"),
        ("user_id", "42"),
    )  # fmt: skip
    assert event.nodes == tuple(node(SECRET, pair) for pair in event.identifiers)
    assert event.owner == node(SECRET, ("user_id", "42"))


def test_traits_in_the_context_of_an_identify_call_are_traits_too() -> None:
    event = parsed_event(
        {"type": "identify", "userId": "u1", "traits": {"a": 1}, "context": {"traits": {"a": 0, "b": 2, "email": "lan@cho-que.vn"}}}
    )
    assert event.traits == {"a": 1, "b": 2, "email": "lan@cho-que.vn"}
    assert ("email", "lan@cho-que.vn") in event.identifiers


def test_traits_of_other_calls_name_nobody() -> None:
    assert parsed_event(track(traits={"email": "lan@cho-que.vn"})).identifiers == (("user_id", "u1"),)


def test_a_blocked_value_is_dropped_and_the_others_count() -> None:
    assert parsed_event(track(anonymousId="00000000-0000-0000-0000-000000000000")).identifiers == (("user_id", "u1"),)


def test_a_call_centre_names_people_by_namespace() -> None:
    event = parsed_event(
        {"type": "track", "event": "Call Ended", "identifiers": {"caller_number": "0912345678", "crm_id": 7, "email": None}}
    )
    assert event.identifiers == (("caller_number", "+84912345678"), ("crm_id", "7"))
    assert event.owner == node(SECRET, ("crm_id", "7"))


def test_an_alias_keeps_the_previous_id_and_makes_no_identifier_of_it() -> None:
    event = parsed_event({"type": "alias", "userId": "u2", "previousId": " cookie-1 ", "properties": {"reason": "gộp"}})
    assert event.identifiers == (("user_id", "u2"),)
    assert event.properties == {"reason": "gộp", "previousId": "cookie-1"}


def test_a_group_keeps_its_id_and_a_page_its_category() -> None:
    group = parsed_event({"type": "group", "userId": "u1", "groupId": 5, "traits": {"name": "Cty Hoa Sen"}})
    assert group.properties == {"groupId": "5"}
    assert group.traits == {"name": "Cty Hoa Sen"}
    page = parsed_event({"type": "page", "userId": "u1", "name": "Trang chủ", "category": "Shop"})
    assert page.name == "Trang chủ"
    assert page.properties == {"category": "Shop"}


def test_a_message_id_is_kept_hashed_when_too_long_or_given_when_missing() -> None:
    assert parsed_event(track(messageId="m" * MAX_ID_CHARS)).id == "m" * MAX_ID_CHARS
    long = parsed_event(track(messageId="m" * 257)).id
    assert len(long) == 32
    assert long != parsed_event(track(messageId="m" * 258)).id
    assert parsed_event(track(messageId=12)).id == "12"
    assert parsed_event(track(messageId="")).id == parsed_event(track(messageId=None)).id == "given"


@pytest.mark.parametrize(
    "written",
    [
        AT, "2025-06-15T15:06:40.000Z", "2025-06-15t15:06:40z", "2025-06-15 22:06:40+07:00", "20250615T150640Z",
        "2025-06-15T15:06:40", "2025-W24-7T15:06:40", "2025-166T15:06:40Z", " 2025-06-15T15:06:40.000000000Z ",
        1_750_000_000, 1_750_000_000.0, NOW_MS, NOW_MS * 1_000, NOW_MS * 1_000_000, "1750000000", "1750000000000",
    ],
)  # fmt: skip
def test_an_instant_is_read_in_any_form(written: Any) -> None:
    earlier = parse_call(
        track(timestamp=written),
        call_type=None,
        source="s",
        trust="trusted",
        received_ms=NOW_MS + 5,
        sent_ms=None,
        secret=SECRET,
        country="VN",
        default_id="d",
    )
    assert isinstance(earlier, Event)
    assert earlier.time_ms == NOW_MS


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("2024-06-30T24:00:00Z", "2024-07-01T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2024-366", "2024-12-31"),
    ],
)
def test_rare_forms_of_iso_8601(written: str, same: str) -> None:
    assert parsed_event(track(timestamp=written)).time_ms == parsed_event(track(timestamp=same)).time_ms


@pytest.mark.parametrize("written", ["1969-12-31T23:59:59Z", -1, True, "-", "2024-000", "2024-13-01", 1e30])
def test_invalid_instant_is_rejected(written: Any) -> None:
    assert refused(track(timestamp=written)).path == "timestamp"


def test_the_clients_clock_is_corrected_by_when_it_sent() -> None:
    wrong_by = 3_600_000
    assert parsed_event(track(timestamp=NOW_MS + wrong_by - 10_000), sent_ms=NOW_MS + wrong_by).time_ms == NOW_MS - 10_000
    assert parsed_event(track(timestamp=NOW_MS - 10_000, sentAt=NOW_MS - 4_000)).time_ms == NOW_MS - 6_000
    assert parsed_event(track(originalTimestamp=NOW_MS - 9_000, timestamp=NOW_MS - 1), sent_ms=NOW_MS).time_ms == NOW_MS - 9_000


def test_event_time_before_sent_at_is_kept() -> None:
    assert parsed_event(track(originalTimestamp=NOW_MS - 1, timestamp=NOW_MS - 9_000), sent_ms=NOW_MS).time_ms == NOW_MS - 9_000
    assert refused(track(originalTimestamp=NOW_MS - 1, timestamp="soon")).path == "timestamp"


def test_the_future_is_now_and_a_senseless_sent_at_corrects_nothing() -> None:
    assert parsed_event(track(timestamp=NOW_MS + 99_000)).time_ms == NOW_MS
    assert parsed_event(track(timestamp=NOW_MS - 5, sentAt="9999-01-01")).time_ms == NOW_MS - 5
    assert parsed_event(track(timestamp=NOW_MS - 5, sentAt="soon")).time_ms == NOW_MS - 5


def touchpoints(value: bytes | None, **more: Any) -> list[Event | Rejection]:
    return parse_touchpoint(
        value, record_id="t-0-7", sources={"call-centre": "trusted"}, received_ms=NOW_MS, secret=SECRET, country="VN", **more
    )


CALL = {"type": "track", "event": "Call Ended", "identifiers": {"caller_number": "0912345678"}}


def test_a_touchpoint_is_one_object_even_on_several_lines() -> None:
    (event,) = touchpoints(b"\xef\xbb\xbf" + json.dumps({**CALL, "source": "call-centre"}, indent=2).encode())
    assert isinstance(event, Event)
    assert event.id == "t-0-7-0"
    assert event.source == "call-centre"


def test_each_json_line_has_its_own_result() -> None:
    good = json.dumps(CALL).encode()
    results = touchpoints(
        b"\n".join([good, b"", b'{"type": ', good + b"\r", b'"text"', json.dumps({**CALL, "source": "x"}).encode()])
    )
    assert [result.id if isinstance(result, Event) else (result.reason, result.touchpoint_id) for result in results] == [
        "t-0-7-0",
        (Reason.UNPARSABLE, "t-0-7-2"),
        "t-0-7-3",
        (Reason.NOT_AN_OBJECT, "t-0-7-4"),
        (Reason.UNKNOWN_SOURCE, "t-0-7-5"),
    ]
    assert isinstance(results[1], Rejection)
    assert results[1].raw == b'{"type": '


def test_each_element_of_a_json_list_has_its_own_result() -> None:
    large = {**CALL, "properties": {"note": "x" * 900}}
    value = json.dumps([CALL, {**CALL, "source": "x"}, {**CALL, "messageId": "m1"}, 5, [CALL], large], ensure_ascii=False)
    results = touchpoints(value.encode(), max_event_bytes=800)
    assert [result.id if isinstance(result, Event) else (result.reason, result.touchpoint_id) for result in results] == [
        "t-0-7-0",
        (Reason.UNKNOWN_SOURCE, "t-0-7-1"),
        "m1",
        (Reason.NOT_AN_OBJECT, "t-0-7-3"),
        (Reason.NOT_AN_OBJECT, "t-0-7-4"),
        (Reason.TOO_LARGE, "t-0-7-5"),
    ]
    assert isinstance(results[1], Rejection)
    assert json.loads(results[1].raw) == {**CALL, "source": "x"}


@pytest.mark.parametrize(("value", "reason"), [
    (b"[]", Reason.NOT_AN_OBJECT), (b"[1,2,3]", Reason.TOO_MANY), (b"[" * 900 + b"]" * 900, None),
])  # fmt: skip
def test_list_that_holds_no_events_is_one_rejection_with_its_bytes(value: bytes, reason: Reason | None) -> None:
    (result,) = touchpoints(value, max_events=2)
    assert isinstance(result, Rejection)
    assert result.reason == (reason or result.reason)
    assert result.raw in (value, value[1:-1])


@pytest.mark.parametrize("value", [None, b"", b" \n", b"\xff\xfe", b"{", b"[" * 200_000, b"1" * 5_000])
def test_a_record_that_is_no_json_is_one_rejection(value: bytes | None) -> None:
    (result,) = touchpoints(value)
    assert isinstance(result, Rejection)
    assert result.reason == Reason.UNPARSABLE
    assert result.raw == (value or b"")


def test_touchpoints_are_bounded_in_size_and_number() -> None:
    good = json.dumps(CALL).encode()
    (large,) = touchpoints(good, max_event_bytes=len(good) - 1)
    assert isinstance(large, Rejection)
    assert large.reason is Reason.TOO_LARGE
    (many,) = touchpoints(good + b"\n" + good + b"\n" + good, max_events=2)
    assert isinstance(many, Rejection)
    assert many.reason is Reason.TOO_MANY


def test_a_lone_surrogate_spoils_its_own_line_alone() -> None:
    spoiled = b'{"type":"track","userId":"u1","event":"X","properties":{"a":"\\ud83d"}}'
    first, second = touchpoints(spoiled + b"\n" + json.dumps(CALL).encode())
    assert isinstance(first, Rejection)
    assert first.reason is Reason.WRONG_TYPE
    assert isinstance(second, Event)
