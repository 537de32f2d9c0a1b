"""Records of quarantine: whatever was refused fits into one, whole when it can be compressed."""

import base64
import os

import msgspec
import pytest

from runtime.bus.record_limits import MAX_RECORD_BYTES
from schemas.codec import decode, encode
from schemas.quarantine import NO_POSITION, build_quarantine_record, raw_bytes
from schemas.records import QuarantineRecord


def quarantined(value: bytes | None) -> QuarantineRecord:
    record = build_quarantine_record("unify", NO_POSITION, value, "poison", "d" * 500, record_id="r", at_ms=1, counted=False)
    encoded = encode(record)
    assert len(encoded) <= MAX_RECORD_BYTES
    return decode(QuarantineRecord, encoded)


@pytest.mark.parametrize("value", [None, b"", b"{}", "Huế".encode(), bytes(range(256)) * 200])
def test_small_records_are_stored_as_they_were(value: bytes | None) -> None:
    record = quarantined(value)
    assert base64.b64decode(record.raw) == raw_bytes(record) == (value or b"")
    assert record.encoding == ""


def test_a_large_record_is_compressed_and_whole() -> None:
    value = b'{"traits":{"a":1}}' * 1_000_000
    record = quarantined(value)
    assert record.encoding == "zlib"
    assert raw_bytes(record) == value
    assert "kept" not in record.detail


def test_of_what_cannot_be_compressed_the_beginning_is_stored_and_the_detail_says_so() -> None:
    value = os.urandom(9_000_000)
    record = quarantined(value)
    assert value.startswith(raw_bytes(record))
    assert len(raw_bytes(record)) > 5_000_000
    assert "of 9000000 bytes the first" in record.detail


@pytest.mark.parametrize("raw", ["not base64!", "AAAA", "eA"])
def test_a_record_that_is_not_what_its_encoding_says_stops_no_reader(raw: str) -> None:
    record = build_quarantine_record("unify", NO_POSITION, b"x", "poison", "", record_id="r", at_ms=1, counted=False)
    assert raw_bytes(msgspec.structs.replace(record, raw=raw, encoding="zlib")) == raw.encode()
