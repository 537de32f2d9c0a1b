"""A call-centre event is the same event by every way in: HTTP, a record of Kafka, the webhook of a CTI."""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson
import pytest

from domain.definitions.kinds import Source, load_yaml
from domain.profiles.fragment import Fragment, apply_event, encode_fragment
from domain.segments.plan import SegmentPlan
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import CALL_TYPES, Event
from schemas.records import QuarantineRecord
from streams.steps.accept import AcceptStep
from tests.support.collector_harness import KEY, NOW_MS, collector_harness, source
from tests.support.webhook_sources import hmac_headers

SECRET = "secret-of-the-cti"
SOURCE = """
apiVersion: onefold/v1
kind: Source
metadata: {name: cti}
spec:
  trust: trusted
  webhook:
    signature: {scheme: hmac, header: X-CTI-Signature, prefix: "sha256=", timestamp_header: X-CTI-Timestamp, secret_env: CTI_SECRET}
    mapping:
      rules:
        - events:
            - type: {path: $.state, map: {ringing: call_started, answered: call_connected, hangup: call_ended,
                wrapup: call_disposition, callback: callback_scheduled, callback_done: callback_done, note: note_added}}
              time: $.at
              identifiers: {user_id: $.customer.code, crm_id: $.customer.crm, phone: $.customer.tel, email: $.customer.mail}
              context: {locale: vi-VN}
              properties:
                call_id: $.call.uuid
                sequence: $.seq
                caller_number: $.call.from
                direction: $.call.way
                agent: $.agent[0].login
                queue: $.queue
                wait_seconds: $.call.wait
                talk_seconds: $.call.talk
                disposition: $.result
                order_id: $.order
                scheduled_at: $.callback_at
                note: $.text
                recording: $.recording
"""
STATES = dict(
    zip(CALL_TYPES, ("ringing", "answered", "hangup", "wrapup", "callback", "callback_done", "note"), strict=True),
)
START = {
    "type": "call_started",
    "timestamp": "2025-06-15T21:00:00+07:00",
    "call_id": "c-1",
    "caller_number": "0912 345 678",
    "direction": "inbound",
    "queue": "Bán hàng",
}
ACCEPTED_CALLS: dict[str, dict[str, Any]] = {
    "started": START,
    "started, outbound, numbered": {**START, "call_id": 77, "sequence": 1, "direction": "outbound"},
    "connected": {**START, "type": "call_connected", "agent": "lan.nguyễn", "wait_seconds": 12},
    "connected to who is known": {
        **START, "type": "call_connected", "user_id": "KH-7", "crm_id": "CRM-1", "phone": "+84 987 654 321", "email": "Lan@Thu.vn",
    },
    "withheld, but known": {**START, "caller_number": "anonymous", "user_id": "KH-7"},
    "withheld": {**START, "caller_number": "anonymous"},
    "ended": {**START, "type": "call_ended", "talk_seconds": 259.5, "recording": "https://cti.example.vn/r/1"},
    "disposition": {**START, "type": "call_disposition", "disposition": "Chốt đơn", "order_id": 20250615001},
    "callback": {**START, "type": "callback_scheduled", "scheduled_at": "2025-06-16T09:00:00+07:00"},
    "callback done": {**START, "type": "callback_done", "agent": "lan.nguyễn"},
    "note": {**START, "type": "note_added", "note": "Khách hỏi size áo dài, giao trước Tết"},
    "from the future": {**START, "timestamp": NOW_MS + 60_000},
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no call id": ({**START, "call_id": None}, "missing_field", "properties.call_id"),
    "a list for an id": ({**START, "call_id": ["c"]}, "wrong_type", "properties.call_id"),
    "another direction": ({**START, "direction": "sideways"}, "wrong_type", "properties.direction"),
    "words for seconds": ({**START, "wait_seconds": "a while"}, "wrong_type", "properties.wait_seconds"),
    "negative seconds": ({**START, "talk_seconds": -1}, "wrong_type", "properties.talk_seconds"),
    "no disposition": ({**START, "type": "call_disposition"}, "missing_field", "properties.disposition"),
    "no instant": ({**START, "type": "callback_scheduled"}, "missing_field", "properties.scheduled_at"),
    "a wrong instant": ({**START, "type": "callback_scheduled", "scheduled_at": "mai"}, "wrong_type", "properties.scheduled_at"),
    "no note": ({**START, "type": "note_added", "note": " "}, "missing_field", "properties.note"),
    "an object for a number": ({**START, "caller_number": {}}, "wrong_type", "properties.caller_number"),
    "an object for a user": ({**START, "user_id": {}}, "wrong_type", "identifiers.user_id"),
    "a wrong time": ({**START, "timestamp": "yesterday"}, "wrong_type", "timestamp"),
    "a note about nobody": (
        {**START, "type": "note_added", "note": "Gọi lại sau", "call_id": None, "caller_number": "anonymous"},
        "no_identifier",
        "",
    ),
    "no such type": ({**START, "type": "call_dreamt"}, "unknown_type", "type"),
    "no type": ({**START, "type": None}, "missing_field", "type"),
}
IntakeResult = tuple[list[Event], list[QuarantineRecord]]


def payload(call: dict[str, Any]) -> dict[str, Any]:
    """Return the call as the CTI sends it."""
    return {
        "state": STATES.get(call["type"], call["type"]),
        "at": call.get("timestamp"),
        "seq": call.get("sequence"),
        "call": {
            "uuid": call.get("call_id"),
            "from": call.get("caller_number"),
            "way": call.get("direction"),
            "wait": call.get("wait_seconds"),
            "talk": call.get("talk_seconds"),
        },
        "customer": {"code": call.get("user_id"), "crm": call.get("crm_id"), "tel": call.get("phone"), "mail": call.get("email")},
        "agent": [{"login": call.get("agent")}],
        "queue": call.get("queue"),
        "result": call.get("disposition"),
        "order": call.get("order_id"),
        "callback_at": call.get("scheduled_at"),
        "text": call.get("note"),
        "recording": call.get("recording"),
    }


def cti() -> Source:
    (found,) = load_yaml(SOURCE.replace("map: {", "map: {call_dreamt: call_dreamt, "), "test")
    assert isinstance(found, Source)
    return found


async def by_http(path: str, wrap: Callable[[dict[str, Any]], Any], call: dict[str, Any]) -> IntakeResult:
    async with collector_harness() as at:
        answer = await at.post(path, wrap({**call, "context": {"locale": "vi-VN"}}))
        assert answer.status_code == 200
        events, quarantined = await at.events(), [record for record, _ in await at.quarantined()]
        assert len(answer.json()["results"]) == len(quarantined)
        assert all(
            (result["reason"], result["path"] or "") == (held.reason, path_of(held))
            for result, held in zip(answer.json()["results"], quarantined, strict=True)
        )
        return events, quarantined


async def by_kafka(call: dict[str, Any]) -> IntakeResult:
    settings, value = Settings(), orjson.dumps({**call, "context": {"locale": "vi-VN"}, "source": "pbx"})
    step = AcceptStep(settings, lambda: {"pbx": "trusted"})
    record = Record("onefold.touchpoints", 0, 7, NOW_MS, None, value)
    outcome = await step.run(TopicPartition("touchpoints", 0, 1), [record], NOW_MS)
    events = [decode(Event, out.value) for out in outcome.produce if out.topic == settings.topic("events")]
    return events, [decode(QuarantineRecord, out.value) for out in outcome.produce if out.topic == settings.topic("quarantine")]


async def by_webhook(call: dict[str, Any]) -> IntakeResult:
    body = orjson.dumps(payload(call))
    async with collector_harness() as at:
        at.sources.replace_all({"Source/cti": cti(), "Source/default": source("default", KEY)})
        answer = await at.post("/v1/webhook/cti", content=body, auth=None, headers=hmac_headers(SECRET, body, NOW_MS // 1000))
        assert answer.status_code == 200
        return await at.events(), [record for record, _ in await at.quarantined()]


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "calls": lambda call: by_http("/v1/calls", lambda one: one, call),
    "calls, a list": lambda call: by_http("/v1/calls", lambda one: [one], call),
    "calls, a batch": lambda call: by_http("/v1/calls", lambda one: {"batch": [one]}, call),
    "batch": lambda call: by_http("/v1/batch", lambda one: {"batch": [one]}, call),
    "in properties": lambda call: by_http("/v1/calls", in_properties, call),
    "kafka": by_kafka,
    "webhook": by_webhook,
}


def in_properties(call: dict[str, Any]) -> dict[str, Any]:
    beside = ("type", "timestamp", "context")
    inside = {name: value for name, value in call.items() if name not in beside}
    return {name: call.get(name) for name in beside} | {"properties": inside}


def path_of(record: QuarantineRecord) -> str:
    path, colon, _ = record.detail.partition(": ")
    return path if colon and " " not in path else ""


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTI_SECRET", SECRET)


@pytest.mark.parametrize("case", ACCEPTED_CALLS)
@pytest.mark.parametrize("way", [way for way in WAYS if way != "calls"])
async def test_every_intake_path_gives_the_same_call_centre_event(way: str, case: str) -> None:
    (expected,), none = await WAYS["calls"](ACCEPTED_CALLS[case])
    (event,), no_more = await WAYS[way](ACCEPTED_CALLS[case])
    assert none == no_more == []
    assert event.context["locale"] == "vi-VN"
    assert event.received_ms == NOW_MS
    same = {"received_ms": 0, "source": "", "context": {}}
    assert msgspec.structs.replace(event, **same) == msgspec.structs.replace(expected, **same)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("way", WAYS)
async def test_every_intake_path_refuses_for_the_same_reason(way: str, case: str) -> None:
    call, reason, path = REFUSED[case]
    events, (held,) = await WAYS[way](call)
    assert events == []
    assert held.reason == reason
    assert path_of(held) == path
    assert held.counted is True


async def test_event_counts_once_over_any_intake_paths_and_order() -> None:
    others = ("connected to who is known", "withheld, but known", "withheld", "from the future")
    calls = [call for name, call in ACCEPTED_CALLS.items() if name not in others]
    came: list[Event] = []
    for call, way in itertools.product(calls, ("calls", "kafka", "webhook")):
        came.extend((await WAYS[way](call))[0])
    once = folded([(await by_kafka(call))[0][0] for call in calls])
    for seed in range(20):
        random.Random(seed).shuffle(came)
        assert folded(came) == once


def folded(events: Sequence[Event]) -> tuple[int, bytes]:
    """Return how many events were new to the fragment of their one owner, and the encoded fragment."""
    fragment = Fragment()
    return sum(apply_event(fragment, event, SegmentPlan()).is_new for event in events), encode_fragment(fragment)
