"""Reading a compacted topic whole."""

from typing import Final

from runtime.bus.port import Bus, Partition, Record
from runtime.errors import Transient

POLL_MS: Final = 500
MAX_EMPTY_POLLS: Final = 40
"""So many empty polls in a row, 20 seconds, end the reading."""


async def read_to_end(bus: Bus, topic: str) -> dict[bytes | None, Record]:
    """Return the last record of each key, read from the earliest record to the end that the topic had at the call.

    Keys are bytes, whatever they are. A key whose last record has no value was removed. Raises Transient when nothing arrives for
    MAX_EMPTY_POLLS polls although the end is not reached.
    """
    starts, ends = await bus.start_offsets(topic), await bus.end_offsets(topic)
    remaining = {
        Partition(topic, partition_number): end for partition_number, end in ends.items() if end > starts.get(partition_number, 0)
    }
    last_records: dict[bytes | None, Record] = {}
    if not remaining:
        return last_records
    reader = await bus.reader([topic])
    empty_polls = 0
    try:
        while remaining:
            records_by_partition = await reader.poll(POLL_MS, 1_000)
            empty_polls = 0 if records_by_partition else empty_polls + 1
            if empty_polls > MAX_EMPTY_POLLS:
                raise Transient(f"{topic} could not be read to its end: does the broker answer?")
            for records in records_by_partition.values():
                for record in records:
                    last_records[record.key] = record
            # By position, because compaction may have taken the last records: no poll would ever bring them.
            remaining = {partition: end for partition, end in remaining.items() if await reader.position(partition) < end}
    finally:
        await reader.aclose()
    return last_records
