"""Limits that all drivers share. A record that no broker takes is refused before it is sent: it would fail its whole batch."""

from typing import Final

from runtime.bus.port import Outgoing
from runtime.errors import Permanent, TooLarge

MAX_RECORD_BYTES: Final = 8 * 1024 * 1024 - 64 * 1024
"""Key, value and headers together, before compression: the broker's 8 MiB less room for the framing."""
FETCH_WAIT_MS: Final = 50
"""How long a fetch waits at the broker for idle partitions. Those that have records are not fetched meanwhile, so it is short."""


def size_of(record: Outgoing) -> int:
    """Return the bytes of key, value and headers together."""
    return len(record.key or b"") + len(record.value or b"") + sum(len(name) + len(value) for name, value in record.headers)


def check_record(record: Outgoing, partition_count: int) -> None:
    """Check a record for a topic of `partition_count` partitions. Raises Permanent, or TooLarge, if it can never be written."""
    if record.key is None and record.value is None:
        raise Permanent("a record needs a key or a value: it has neither")
    size = size_of(record)
    if size > MAX_RECORD_BYTES:
        raise TooLarge(f"a record of {size} bytes is larger than {MAX_RECORD_BYTES}: make it smaller")
    if record.partition is not None and not 0 <= record.partition < partition_count:
        raise Permanent(f"topic {record.topic} has no partition {record.partition}: it has {partition_count}")
