"""The definitions topic: what is live now, and writing what should be."""

from collections.abc import Iterable, Mapping
from typing import Final

from runtime.bus.port import Bus, Outgoing, Partition
from runtime.errors import Transient
from runtime.settings import Settings
from domain.definitions.kinds import (AnyDefinition, SegmentList, decode, encode)

Documents = dict[str, AnyDefinition]
"""`kind/name` → definition."""

POLL_MS: Final = 500
_EMPTY_POLLS: Final = 40


async def live(settings: Settings, bus: Bus) -> Documents:
    """The definitions that are live: the last record of each key, deletions left out.

    Raises Transient when the topic cannot be read to its end, BadDefinition for a record that is none.
    """
    topic = settings.topic("definitions")
    values = await read_to_end(bus, topic)
    return {key: decode(value, f"definitions {key}") for key, value in values.items() if value}


async def read_to_end(bus: Bus, topic: str) -> dict[str, bytes | None]:
    """The last value of each key of a compacted topic."""
    starts, ends = await bus.start_offsets(topic), await bus.end_offsets(topic)
    left = {Partition(topic, number): end for number, end in ends.items() if end > starts.get(number, 0)}
    found: dict[str, bytes | None] = {}
    if not left:
        return found
    reader = await bus.reader([topic])
    empty = 0
    try:
        while left:
            polled = await reader.poll(POLL_MS, 1_000)
            empty = 0 if polled else empty + 1
            if empty > _EMPTY_POLLS:
                raise Transient(f"{topic} could not be read to its end")
            for partition, records in polled.items():
                for record in records:
                    found[(record.key or b"").decode()] = record.value
                if records and records[-1].offset + 1 >= left.get(partition, 0):
                    left.pop(partition, None)
    finally:
        await reader.aclose()
    return found


async def write(settings: Settings, bus: Bus, definitions: Iterable[AnyDefinition]) -> int:
    """Make these definitions live; returns the topic's next offset after them, 0 when there are none. Lists are sealed."""
    return await _send(settings, bus, {one.key: encode(one) for one in sealed(settings, definitions)})


async def remove(settings: Settings, bus: Bus, key: str) -> int:
    """Make a definition live no more; returns the topic's next offset after that."""
    return await _send(settings, bus, {key: None})


def sealed(settings: Settings, definitions: Iterable[AnyDefinition]) -> list[AnyDefinition]:
    """The same definitions, lists with hashes in place of values. Raises BadDefinition for a value that is no identifier."""
    secret, country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
    return [one.sealed(secret, country) if isinstance(one, SegmentList) else one for one in definitions]


async def _send(settings: Settings, bus: Bus, values: Mapping[str, bytes | None]) -> int:
    topic = settings.topic("definitions")
    producer = await bus.producer()
    try:
        placed = await producer.send([Outgoing(topic, value, key=key.encode()) for key, value in values.items()])
    finally:
        await producer.aclose()
    return max((offset + 1 for _, offset in placed), default=0)
