"""Fetching single records by their places."""

from collections.abc import Iterable
from typing import Final

from runtime.bus.port import Bus, Partition, Reader, Record
from runtime.errors import Transient

POLL_MS: Final = 500
MAX_EMPTY_POLLS: Final = 20
"""So many polls in a row that bring nothing, ten seconds, end the fetch."""


async def fetch_records(bus: Bus, topic: str, places: Iterable[tuple[Partition, int]]) -> dict[tuple[Partition, int], Record]:
    """Return the records at these places of a topic; those that the broker no longer has are missing.

    Raises Transient when the broker does not answer.
    """
    offsets_by_partition: dict[Partition, list[int]] = {}
    starts, ends = await bus.start_offsets(topic), await bus.end_offsets(topic)
    for partition, offset in set(places):
        if starts.get(partition.number, 0) <= offset < ends.get(partition.number, 0):
            offsets_by_partition.setdefault(partition, []).append(offset)
    fetched: dict[tuple[Partition, int], Record] = {}
    if not offsets_by_partition:
        return fetched
    reader = await bus.reader([topic])
    try:
        for number, end in ends.items():  # nothing is read but what is sought
            await reader.seek(Partition(topic, number), end)
        for partition, offsets in offsets_by_partition.items():
            for offset in sorted(offsets):
                if (record := await _fetch_one(reader, partition, offset)) is not None:
                    fetched[partition, offset] = record
            await reader.seek(partition, ends[partition.number])
    finally:
        await reader.aclose()
    return fetched


async def _fetch_one(reader: Reader, partition: Partition, offset: int) -> Record | None:
    """Return the record at this offset, or None when the broker has none there."""
    await reader.seek(partition, offset)
    empty_polls = 0
    while empty_polls < MAX_EMPTY_POLLS:
        records = (await reader.poll(POLL_MS, 1)).get(partition, [])
        if records:
            return records[0] if records[0].offset == offset else None
        if await reader.position(partition) > offset:
            return None
        empty_polls += 1
    raise Transient("a record could not be read: does the broker answer?")
