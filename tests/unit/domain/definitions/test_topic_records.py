"""One record of the definitions topic: whatever its bytes, it is a definition or there is a reason, which quotes no value."""

import json
import random
from typing import Any

import pytest

from domain.definitions.kinds import InvalidDefinition, encode_definition, parse_definition
from domain.definitions.topic_records import MAX_VALUE_BYTES, decode_key, decode_record, describe_key

VIP: dict[str, Any] = {
    "apiVersion": "onefold/v1",
    "kind": "Segment",
    "metadata": {"name": "vip"},
    "spec": {"where": {"did": {"event": "Đặt hàng"}}},
}


def written(**changes: Any) -> bytes:
    return json.dumps({**VIP, **changes}, ensure_ascii=False).encode()


def test_a_definition_is_read_as_it_was_written() -> None:
    definition = parse_definition(VIP, "vip")
    assert decode_record("Segment/vip", encode_definition(definition)) == definition


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"null", "not a definition that this version reads|kind"),
        (b"[]", "not a definition that this version reads|kind"),
        (written(apiVersion="onefold/v2"), "apiVersion"),
        (written(kind="Journey"), "kind"),
        (written(spec={"where": {"did": {"event": "X"}}, "since": "v2"}), "spec.since"),
        (written(metadata={"name": "other"}), "another key|own key"),
        (written(spec={"where": json.loads('{"not":' * 90 + '{"everyone": true}' + "}" * 90)}), "nested deeper"),
        (b" " * (MAX_VALUE_BYTES + 1), "bytes"),
    ],
)
def test_a_value_that_is_no_definition_has_a_reason(value: bytes, reason: str) -> None:
    with pytest.raises(InvalidDefinition, match=reason):
        decode_record("Segment/vip", value)


def test_a_reason_quotes_no_value_and_stays_short() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        decode_record("Segment/vip", written(spec={"where": {"trait": {"name": "lan@shop.vn", "eq": {"deep": "lan@shop.vn"}}}}))
    assert "lan@shop.vn" not in str(caught.value)
    with pytest.raises(InvalidDefinition) as caught:
        decode_record("Segment/vip", written(**{"\x1b[2J" + "x" * 60_000: 1}))
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"Segment/" + b"x" * 60_000])
def test_a_key_that_no_definition_can_have_has_a_reason(key: bytes | None) -> None:
    with pytest.raises(InvalidDefinition):
        decode_key(key)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"Segment/vip", "Segment/vip"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\x1b[2J\nb", r"a\x1b[2J\nb"),
        ("Nguyễn".encode(), "Nguyễn"),
        (b"k" * 60_000, "k" * 80 + "… (60,000 bytes)"),
    ],
)
def test_a_key_is_shown_escaped_and_short(key: bytes, shown: str) -> None:
    assert describe_key(key) == shown


def test_any_bytes_are_a_definition_or_have_a_reason() -> None:
    rng = random.Random(7)
    for _ in range(300):
        value = bytearray(written())
        for _ in range(rng.randint(1, 5)):
            value[rng.randrange(len(value))] = rng.randrange(256)
        try:
            decode_record("Segment/vip", bytes(value))
        except InvalidDefinition as error:
            assert str(error).isprintable()  # noqa: PT017 - either outcome is right
