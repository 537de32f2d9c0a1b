"""A stream process with one agent that counts: for tests of what a crash, a rebalance or a fault does to a slice.

    python -m tests.support.counting_worker

Every record of `events` is appended, once, to a guarded document, and one record is written to `links` for it. The environment
says how the step misbehaves:

    COUNTING_SLOW_S     sleep this long in every slice
    COUNTING_RAISE_ONCE  path of a file: raise in the first slice, once (the file remembers it)
    COUNTING_POISON     raise whenever a slice holds a record with this value
"""

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profile_store.connect import open_store
from profile_store.port import GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing, Record
from runtime.clock import SystemClock
from runtime.settings import Settings
from streams.hosting import HostedStep
from streams.outcome import Outcome
from streams.process import StreamProcess

BUCKETS = 5


def bucket_id(topic_partition: TopicPartition, offset: int) -> str:
    """Return the id of the document that counts this record."""
    return f"count-{topic_partition.partition}-{offset % BUCKETS}"


class CountingStep:
    """A step that appends each record's offset to its document, so that a record applied twice appears twice."""

    name = "counting"
    topic = "events"

    def __init__(self, settings: Settings, store: ProfileStore) -> None:
        self._settings, self._store = settings, store

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:  # noqa: ARG002 - the port's shape
        """Count the records once, slowly or with a failure if the environment variables demand it."""
        ids = sorted({bucket_id(topic_partition, record.offset) for record in records})
        checkpoint, documents, _ = await self._store.load(topic_partition, "fragment", ids)
        if checkpoint.paused:
            return Outcome(paused=True)
        await misbehave(records)
        counted: defaultdict[str, list[int]] = defaultdict(list)
        for record in records:
            name = bucket_id(topic_partition, record.offset)
            if record.offset > documents[name].applied_offset(topic_partition):
                counted[name].append(record.offset)
        written = {
            ("fragment", name): GuardedDocument(
                msgspec.json.encode([*offsets_of(documents[name]), *offsets]), topic_partition.guard_name, offsets[-1]
            )
            for name, offsets in counted.items()
        }
        return Outcome(
            checkpoint.position,
            writes=Writes(documents=written),  # type: ignore[arg-type]  # the kind is a literal
            produce=tuple(
                Outgoing(self._settings.topic("links"), f"{topic_partition.partition}:{record.offset}".encode())
                for record in records
            ),
            results=Counter(counted=len(records)),
        )


def offsets_of(document: GuardedDocument) -> list[int]:
    """Return the offsets that a document counts."""
    return [] if document.data is None else msgspec.json.decode(document.data, type=list[int])


async def misbehave(records: Sequence[Record]) -> None:
    """Wait or fail as the environment variables demand."""
    await asyncio.sleep(float(os.environ.get("COUNTING_SLOW_S", "0")))
    raise_as_configured(records)


def raise_as_configured(records: Sequence[Record]) -> None:
    """Fail once, or always at one record."""
    marker = os.environ.get("COUNTING_RAISE_ONCE")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("fails once")
    poison = os.environ.get("COUNTING_POISON", "").encode()
    if poison and any(record.value == poison for record in records):
        raise RuntimeError("fails always")


async def serve() -> int:
    """Run until a signal stops the process; return the exit code."""
    settings, clock = Settings(), SystemClock()
    store = open_store(settings, clock)
    try:
        async with KafkaBus(settings) as bus:
            process = StreamProcess(settings, bus=bus, store=store, clock=clock)
            return await process.run(lambda parts: [HostedStep(CountingStep(settings, parts.store))])
    finally:
        await store.aclose()


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=os.environ.get("COUNTING_LOG", "WARNING"), stream=sys.stderr)
    code = asyncio.run(serve())
    logging.shutdown()
    os._exit(code)
