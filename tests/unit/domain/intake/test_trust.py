"""What a public source may not send, and that a trusted one may send it."""

import json
from typing import Any

import pytest

from domain.intake.parse import parse_call
from domain.intake.rejection import Rejection
from domain.intake.touchpoints import parse_touchpoint
from domain.intake.trust import MAX_PUBLIC_AGE_DAYS, Trust
from schemas.events import Event
from schemas.instants import DAY_MS
from schemas.reasons import Reason
from tests.support.events import SECRET

NOW_MS = 1_750_000_000_000


def parsed(call: dict[str, Any], trust: Trust) -> Event | Rejection:
    return parse_call(
        {"type": "track", "event": "Seen", "anonymousId": "c-1", **call}, call_type=None, source="web", trust=trust,
        received_ms=NOW_MS, sent_ms=None, secret=SECRET, country="VN", default_id="m1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("call", "reason", "path"),
    [
        ({"identifiers": {"crm_id": "CRM-1"}}, Reason.UNTRUSTED_SOURCE, "identifiers.crm_id"),
        ({"identifiers": {"caller_number": "0912345678"}}, Reason.UNTRUSTED_SOURCE, "identifiers.caller_number"),
        ({"type": "call_ended", "call_id": "c-9"}, Reason.UNTRUSTED_SOURCE, "type"),
        ({"type": "note_added", "note": "Khách hỏi giá"}, Reason.UNTRUSTED_SOURCE, "type"),
        ({"timestamp": NOW_MS - MAX_PUBLIC_AGE_DAYS * DAY_MS - 1}, Reason.TOO_OLD, "timestamp"),
    ],
)
def test_a_public_source_may_not_send_what_only_the_business_knows(call: dict[str, Any], reason: Reason, path: str) -> None:
    refused, accepted = parsed(call, "public"), parsed(call, "trusted")
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.path) == (reason, path)
    assert isinstance(accepted, Event)
    assert accepted.trusted


@pytest.mark.parametrize(
    "call",
    [
        {"timestamp": NOW_MS - MAX_PUBLIC_AGE_DAYS * DAY_MS},
        {"type": "identify", "userId": "KH-1", "traits": {"email": "lan@shop.vn", "phone": "0912345678"}},
        {"type": "alias", "userId": "KH-1", "previousId": "c-1"},
    ],
)
def test_an_event_of_a_public_source_says_so(call: dict[str, Any]) -> None:
    event = parsed(call, "public")
    assert isinstance(event, Event)
    assert not event.trusted


@pytest.mark.parametrize(
    ("source", "trusted"),
    [({}, True), ({"source": "server"}, True), ({"source": "web"}, False), ({"source": "pos"}, True)],
)
def test_a_touchpoint_has_the_trust_of_its_source_and_is_of_the_server_if_it_names_none(
    source: dict[str, str],
    trusted: bool,
) -> None:
    line = json.dumps({"type": "track", "event": "Seen", "userId": "KH-1", **source}).encode()
    sources: dict[str, Trust] = {"web": "public", "pos": "trusted"}
    (event,) = parse_touchpoint(line, record_id="t-0-0", sources=sources, received_ms=NOW_MS, secret=SECRET, country="VN")
    assert isinstance(event, Event)
    assert (event.source, event.trusted) == (source.get("source", "server"), trusted)


def test_the_server_is_public_when_its_definition_says_so() -> None:
    line = b'{"type": "track", "event": "Seen", "userId": "KH-1"}'
    (event,) = parse_touchpoint(
        line, record_id="t-0-0", sources={"server": "public"}, received_ms=NOW_MS, secret=SECRET, country="VN"
    )
    assert isinstance(event, Event)
    assert not event.trusted
