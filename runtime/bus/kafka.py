"""The Kafka driver of the bus, by aiokafka."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from runtime.bus.epochs import LogIdentity
from runtime.bus.kafka_admin import KafkaAdmin
from runtime.bus.kafka_connection import client_options, start_client
from runtime.bus.kafka_consumer import KafkaConsumer, KafkaReader
from runtime.bus.kafka_positions import ISOLATION_LEVEL
from runtime.bus.kafka_producer import KafkaProducer
from runtime.bus.log_guard import LogGuard, ReadAdopted
from runtime.bus.partitioner import partition_of
from runtime.bus.record_limits import FETCH_WAIT_MS
from runtime.settings import Settings

TIMEOUT_MS: Final = 30_000
_REQUEST_TIMEOUT_MS: Final = 10_000
_MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024


def _choose_partition(key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]) -> int:
    if key is None:
        return random.choice(available or all_partitions)  # noqa: S311 - spreads load, keeps no secret
    return all_partitions[partition_of(key, len(all_partitions))]


class KafkaBus:
    """Connects when first used. `timeout_ms` bounds every send, commit and request; after it they raise Transient.

    `read_adopted` reads from a store which log it belongs to. Without it the bus works on any log, and offsets are those of Kafka.
    """

    def __init__(self, settings: Settings, *, timeout_ms: int = TIMEOUT_MS, read_adopted: ReadAdopted | None = None) -> None:
        self._settings = settings
        self._timeout_s = timeout_ms / 1_000
        self._common: dict[str, Any] = {
            **client_options(settings),
            "request_timeout_ms": min(_REQUEST_TIMEOUT_MS, timeout_ms),
        }
        self._admin = KafkaAdmin(self._common, settings.replication_factor, self._timeout_s)
        self._guard = LogGuard(self._admin.log_identity, read_adopted, settings.secret_fingerprint)

    @property
    def first_offset(self) -> int:
        return self._guard.first_offset

    @property
    def in_use(self) -> bool:
        return self._guard.in_use

    def waits(self) -> list[str]:
        return [self._guard.problem] if self._guard.problem else []

    async def producer(self) -> KafkaProducer:
        await self._guard.ensure()
        producer = KafkaProducer(
            self._new_producer,
            self._start_producer,
            lambda topic: self._admin.partitions([topic]),
            self._timeout_s,
            self._guard.first_offset,
        )
        await producer.connect()
        return producer

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._common,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=0,  # callers send whole slices and wait for them, so lingering would only add latency
            max_batch_size=256 * 1024,
            max_request_size=_MAX_REQUEST_BYTES,
            partitioner=_choose_partition,
        )

    async def _start_producer(self, producer: AIOKafkaProducer) -> None:
        await start_client(producer, self._common)

    async def consumer(self, group: str, topics: Sequence[str]) -> KafkaConsumer:
        session_ms = self._settings.session_timeout_ms
        inner = await self._consume(
            topics,
            group_id=group,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(3_000, session_ms // 4),
            max_poll_interval_ms=self._settings.max_slice_ms,
            # Ranges, so that a member gets the same partition numbers of all its topics.
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        consumer = KafkaConsumer(inner, self._timeout_s, self._guard.first_offset)
        await consumer.connect()
        return consumer

    async def reader(self, topics: Sequence[str]) -> KafkaReader:
        reader = KafkaReader(await self._consume(topics, group_id=None), self._timeout_s, self._guard.first_offset)
        await reader.connect()
        return reader

    async def _consume(self, topics: Sequence[str], **options: Any) -> AIOKafkaConsumer:
        await self._guard.ensure()
        await self._admin.partitions(topics)
        return AIOKafkaConsumer(
            *topics,
            **self._common,
            **options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION_LEVEL,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )

    async def end_offsets(self, topic: str) -> dict[int, int]:
        await self._guard.ensure()
        return self._in_epoch(await self._admin.offsets(topic, "end"))

    async def start_offsets(self, topic: str) -> dict[int, int]:
        await self._guard.ensure()
        return self._in_epoch(await self._admin.offsets(topic, "start"))

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        await self._guard.ensure()
        return self._in_epoch(await self._admin.committed(group, topic))

    def _in_epoch(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Return Kafka's offsets as Onefold has them."""
        return {partition: offset + self._guard.first_offset for partition, offset in offsets.items()}

    async def log_identity(self, topics: Sequence[str]) -> LogIdentity:
        return await self._admin.log_identity(topics)

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        await self._admin.create_topics(topics)

    async def ping(self) -> None:
        await self._admin.ping()
        await self._guard.verify()

    async def aclose(self) -> None:
        await self._admin.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
