"""The definitions topic: what is live now, and writing what should be."""

from collections.abc import Iterable, Mapping
from typing import Final

from domain.definitions.kinds import AnyDefinition, SegmentList, decode_definition, encode_definition
from runtime.bus.port import Bus, Outgoing, Partition
from runtime.errors import Transient
from runtime.settings import Settings

DefinitionsByKey = dict[str, AnyDefinition]
"""`kind/name` → definition."""

POLL_MS: Final = 500
_MAX_EMPTY_POLLS: Final = 40


async def read_live(settings: Settings, bus: Bus) -> DefinitionsByKey:
    """The definitions that are live: the last record of each key, deletions left out.

    Raises Transient when the topic cannot be read to its end, BadDefinition for a record that is none.
    """
    topic = settings.topic("definitions")
    values = await read_to_end(bus, topic)
    return {key: decode_definition(value, f"definitions {key}") for key, value in values.items() if value}


async def read_to_end(bus: Bus, topic: str) -> dict[str, bytes | None]:
    """The last value of each key of a compacted topic."""
    starts, ends = await bus.start_offsets(topic), await bus.end_offsets(topic)
    remaining = {
        Partition(topic, partition_number): end for partition_number, end in ends.items() if end > starts.get(partition_number, 0)
    }
    latest_values: dict[str, bytes | None] = {}
    if not remaining:
        return latest_values
    reader = await bus.reader([topic])
    empty_polls = 0
    try:
        while remaining:
            records_by_partition = await reader.poll(POLL_MS, 1_000)
            empty_polls = 0 if records_by_partition else empty_polls + 1
            if empty_polls > _MAX_EMPTY_POLLS:
                raise Transient(f"{topic} could not be read to its end")
            for partition, records in records_by_partition.items():
                for record in records:
                    latest_values[(record.key or b"").decode()] = record.value
                if records and records[-1].offset + 1 >= remaining.get(partition, 0):
                    remaining.pop(partition, None)
    finally:
        await reader.aclose()
    return latest_values


async def write(settings: Settings, bus: Bus, definitions: Iterable[AnyDefinition]) -> int:
    """Make these definitions live; returns the topic's next offset after them, 0 when there are none. Lists are sealed."""
    return await _send(settings, bus, {definition.key: encode_definition(definition) for definition in seal(settings, definitions)})


async def remove(settings: Settings, bus: Bus, key: str) -> int:
    """Make a definition live no more; returns the topic's next offset after that."""
    return await _send(settings, bus, {key: None})


def seal(settings: Settings, definitions: Iterable[AnyDefinition]) -> list[AnyDefinition]:
    """The same definitions, lists with hashes in place of values. Raises BadDefinition for a value that is no identifier."""
    secret, country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
    return [
        definition.with_hashed_values(secret, country) if isinstance(definition, SegmentList) else definition
        for definition in definitions
    ]


async def _send(settings: Settings, bus: Bus, values: Mapping[str, bytes | None]) -> int:
    topic = settings.topic("definitions")
    producer = await bus.producer()
    try:
        sent_offsets = await producer.send([Outgoing(topic, value, key=key.encode()) for key, value in values.items()])
    finally:
        await producer.aclose()
    return max((offset + 1 for _, offset in sent_offsets), default=0)
