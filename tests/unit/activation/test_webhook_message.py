import hashlib
import json
from typing import Any

import pytest

from activation.webhook_message import idempotency_key, render, to_iso
from tests.support.transitions import destination, transition

GOLDEN = (
    '{"type":"segment.entered","timestamp":"2025-06-15T15:06:40.123Z","data":{"profile_id":"0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",'
    '"segment":"vip","seq":1,"at":"2025-06-15T15:06:40.123Z","cause":"event","event_id":"e1",'
    '"traits":{"name":"Nguyễn Thị Ánh","city":"Hà Nội"},"computed":{"lifecycle":"loyal"},'
    '"identifiers":{"crm_id":["CRM-12"],"user_id":["KH-7"]}}}'
)


def test_the_body_is_what_receivers_rely_on() -> None:
    assert render(transition(), destination()).body.decode() == GOLDEN


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        ([], {}),
        (["email", "phone"], {"email": ["anh@shop.vn", "anh.nguyen@shop.vn"], "phone": ["+84912345678"]}),
        (["device_id"], {}),
    ],
)
def test_a_message_has_the_identifiers_that_the_destination_asks_for(namespaces: list[str], expected: dict[str, list[str]]) -> None:
    body = json.loads(render(transition(), destination(identifiers=namespaces)).body)
    assert body["data"]["identifiers"] == {name: sorted(values) for name, values in expected.items()}


def test_an_exit_says_so() -> None:
    assert render(transition(op="exited"), destination()).body.startswith(b'{"type":"segment.exited"')


def test_the_key_is_the_hash_of_what_names_the_message() -> None:
    named = "hook|0" + "a" * 31 + "|vip|v1|1|entered"
    assert idempotency_key(transition(), "hook") == hashlib.sha256(named.encode()).hexdigest()


@pytest.mark.parametrize(
    "change", [{"profile_id": "0" + "b" * 31}, {"segment": "new"}, {"segment_version": "v2"}, {"seq": 2}, {"op": "exited"}]
)
def test_another_transition_has_another_key(change: dict[str, Any]) -> None:
    assert idempotency_key(transition(**change), "hook") != idempotency_key(transition(), "hook")


def test_a_key_belongs_to_one_destination() -> None:
    assert idempotency_key(transition(), "other") != idempotency_key(transition(), "hook")


def test_what_does_not_name_a_transition_does_not_change_its_key() -> None:
    assert idempotency_key(transition(traits={}, cause="timer", at_ms=0), "hook") == idempotency_key(transition(), "hook")


def test_instants_are_utc_with_milliseconds() -> None:
    assert to_iso(0) == "1970-01-01T00:00:00.000Z"
