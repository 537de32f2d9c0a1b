"""Build the records of `quarantine`, in one form for every stage."""

import base64
import zlib
from typing import Final, Literal

from schemas.records import QuarantineRecord
from schemas.write_keys import mask_write_keys

STAGES: Final = ("collector", "accept", "unify", "link", "segment", "group", "consumers", "activation")
"""Every process or agent that puts records into quarantine."""
MAX_RAW_CHARS: Final = 7 * 1024 * 1024
"""The largest `raw` of a record, which then fits into the topic with all other fields."""
COMPRESSED: Final = "zlib"
Encoding = Literal["", "zlib"]
_PLAIN_BYTES: Final = 64 * 1024
"""Bytes up to so many are not compressed, so that any tool can read them from the topic."""
_LARGEST_PLAIN_BYTES: Final = MAX_RAW_CHARS // 4 * 3
_MAX_UNCOMPRESSED_BYTES: Final = 64 * 1024 * 1024
NO_POSITION: Final = ("", -1, -1)
"""The position of something that came by HTTP and never was a record on a topic."""


def build_quarantine_record(
    stage: str,
    position: tuple[str, int, int],
    value: bytes | None,
    reason: str,
    detail: str,
    *,
    at_ms: int,
    counted: bool,
    suffix: str = "",
    id_prefix: str = "",
    record_id: str = "",
    source: str = "",
    write_key: str = "",
) -> QuarantineRecord:
    """Return the quarantine record of a record that was refused. Its bytes, `value`, are stored whole, large ones compressed.

    Write keys in them are masked. Bytes that do not fit even so are cut, and the detail tells how many are there.

    `position` is (topic, partition, offset). Stage and position make the id, so a replay that refuses the record again writes the
    same id and is counted once. `id_prefix` replaces the stage in the id, `suffix` tells the lines of one record apart. Something
    that never was on a topic has NO_POSITION, a `record_id` of its own, and names its `source`. `write_key` is the key of the
    request, which is masked wherever it stands.
    """
    topic, partition, offset = position
    raw, encoding, missing = _packed(mask_write_keys(value or b"", write_key))
    return QuarantineRecord(
        id=record_id or f"{id_prefix or stage}-{topic}-{partition}-{offset}{suffix}",
        stage=stage,
        reason=reason,
        detail=f"{detail}{missing}",
        source=source,
        topic=topic,
        partition=partition,
        offset=offset,
        raw=raw,
        encoding=encoding,
        at_ms=at_ms,
        counted=counted,
    )


def raw_bytes(record: QuarantineRecord) -> bytes:
    """Return the bytes of the refused record; those of `raw` as they stand when they are not what `encoding` says."""
    try:
        raw = base64.b64decode(record.raw)
        return zlib.decompressobj().decompress(raw, _MAX_UNCOMPRESSED_BYTES) if record.encoding == COMPRESSED else raw
    except (ValueError, zlib.error):  # written by no stage of ours: it must not stop a reader of the topic
        return record.raw.encode()


def _packed(value: bytes) -> tuple[str, Encoding, str]:
    """Return `raw` and `encoding` for these bytes, and what to say of bytes that are missing."""
    if len(value) > _PLAIN_BYTES:
        compressed = zlib.compress(value)
        if len(compressed) < len(value) and len(compressed) <= _LARGEST_PLAIN_BYTES and len(value) <= _MAX_UNCOMPRESSED_BYTES:
            return base64.b64encode(compressed).decode(), COMPRESSED, ""
    missing = f"; of {len(value)} bytes the first {_LARGEST_PLAIN_BYTES} are kept" if len(value) > _LARGEST_PLAIN_BYTES else ""
    return base64.b64encode(value[:_LARGEST_PLAIN_BYTES]).decode(), "", missing
