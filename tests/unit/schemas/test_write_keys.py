"""No write key is left in bytes that are kept for people."""

import base64
import json
from urllib.parse import quote

import pytest

from schemas.quarantine import NO_POSITION, build_quarantine_record, raw_bytes
from schemas.reasons import Reason
from schemas.write_keys import mask_write_keys

KEY = "wk_3f9Ab/+="


@pytest.mark.parametrize(
    "template",
    [
        '{"writeKey": "KEY", "type": "track", "event": "Mua',
        '{"writeKey":"KEY"}, "a": NaN',
        "{'writeKey' : 'KEY'}",
        '{"batch":[{"WriteKey":"KEY","messageId":"m1"}',
        '{\\"writeKey\\":\\"KEY\\"}',
        "writeKey=KEY&userId=u1&event=Mua",
        "userId=u1&writeKey=KEY",
        "data=%7B%22writeKey%22%3A%22KEY%22%7D",
        "writeKey: KEY\nevent: Mua",
    ],
)
def test_the_value_behind_the_name_is_masked_whatever_the_bytes_are(template: str) -> None:
    key = quote(KEY, safe="") if "=KEY" in template or "%22KEY" in template else KEY
    masked = mask_write_keys(template.replace("KEY", key).encode())
    assert key.encode() not in masked
    assert b"***" in masked


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe writeKey", b'{"note": "the writeKey is secret"}', "chìa khoá writeKey".encode()])
def test_bytes_without_a_key_stay_as_they_are(raw: bytes) -> None:
    assert mask_write_keys(raw) == raw


def test_the_key_of_the_request_is_masked_wherever_it_stands() -> None:
    raw = json.dumps({"properties": {"note": f"my key is {KEY}", "url": f"https://a.vn/?k={quote(KEY, safe='')}"}}).encode()
    masked = mask_write_keys(raw, KEY)
    assert KEY.encode() not in masked
    assert quote(KEY, safe="").encode() not in masked
    assert json.loads(masked)["properties"]["note"] == "my key is ***"
    assert KEY.encode("utf-16-le") not in mask_write_keys(f"x{KEY}x".encode("utf-16-le"), KEY)


def test_no_quarantine_record_holds_a_key() -> None:
    raw = f'{{"writeKey":"{KEY}","x":"{KEY}"'.encode()
    record = build_quarantine_record("collector", NO_POSITION, raw, Reason.UNPARSABLE, "", at_ms=1, counted=True, write_key=KEY)
    assert raw_bytes(record) == b'{"writeKey":"***","x":"***"'
    assert base64.b64encode(KEY.encode()).decode() not in record.raw
