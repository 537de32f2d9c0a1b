"""Chooses the partition of a key by murmur2, as Java's client does, so that every Kafka producer chooses the same one."""

from struct import unpack_from
from typing import Final

_MASK: Final = 0xFFFFFFFF
_SEED: Final = 0x9747B28C
_MIX: Final = 0x5BD1E995


def murmur2(key: bytes) -> int:
    """Return the 32-bit hash, unsigned."""
    size = len(key)
    words = size >> 2
    digest = _SEED ^ size
    for word in unpack_from(f"<{words}I", key):
        mixed = word * _MIX & _MASK
        digest = (digest * _MIX ^ (mixed ^ mixed >> 24) * _MIX) & _MASK
    if tail := key[words << 2 :]:
        digest = (digest ^ int.from_bytes(tail, "little")) * _MIX & _MASK
    digest = (digest ^ digest >> 13) * _MIX & _MASK
    return digest ^ digest >> 15


def partition_of(key: bytes, partition_count: int) -> int:
    """Return the partition of `key` in a topic of `partition_count` partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count
