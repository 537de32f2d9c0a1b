"""The Kafka driver, over aiokafka. Foreign errors are translated here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from runtime.bus.port import Outgoing, Partition, Record
from runtime.errors import OnefoldError, Permanent, Transient
from runtime.settings import Settings

# A broker that restarts is back within this bound; beyond it the caller should know.
SEND_TIMEOUT_MS = 20_000
REQUEST_TIMEOUT_MS = 10_000
MAX_REQUEST_BYTES = 8 * 1024 * 1024

_PERMANENT = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTopicError,
    kafka.UnknownTopicOrPartitionError,
    kafka.TopicAuthorizationFailedError,
)


def translated(error: BaseException, what: str) -> OnefoldError:
    """The error of ours for one of the driver's: Permanent for what no retry heals, else Transient."""
    kind = Permanent if isinstance(error, _PERMANENT) else Transient
    return kind(f"{what}: {type(error).__name__}")


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    """Errors of the driver and of the network leave as ours."""
    try:
        yield
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise translated(error, what) from error


class KafkaBus:
    """A Kafka cluster. Producers and consumers belong to whoever asked for them; `aclose` closes the bus's own admin client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AIOKafkaAdminClient | None = None

    async def producer(self) -> "KafkaProducer":
        driver = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            enable_idempotence=True,
            acks="all",
            compression_type="lz4",
            linger_ms=2,
            max_batch_size=256 * 1024,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=SEND_TIMEOUT_MS,
        )
        with translating("Kafka does not answer"):
            await _started(driver)
        return KafkaProducer(driver)

    async def consumer(self, group: str, topics: Sequence[str]) -> "KafkaConsumer":
        return await self._consumer(group, topics)

    async def reader(self, topics: Sequence[str]) -> "KafkaConsumer":
        return await self._consumer(None, topics)

    async def _consumer(self, group: str | None, topics: Sequence[str]) -> "KafkaConsumer":
        driver = AIOKafkaConsumer(
            *(topics if group is not None else ()),
            bootstrap_servers=self._settings.kafka_bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=max(200, self._settings.session_timeout_ms // 5),
            max_poll_interval_ms=self._settings.max_slice_ms,
            request_timeout_ms=max(REQUEST_TIMEOUT_MS, self._settings.session_timeout_ms + 1_000),
            fetch_max_wait_ms=100,
        )
        with translating("Kafka does not answer"):
            await _started(driver)
            if group is None:
                driver.assign([TopicPartition(topic, n) for topic in topics for n in await self._partitions(topic)])
        return KafkaConsumer(driver, group)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[Any]:
        """A short-lived driver consumer for questions about offsets."""
        driver = AIOKafkaConsumer(bootstrap_servers=self._settings.kafka_bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS)
        with translating("Kafka does not answer"):
            await _started(driver)
            try:
                yield driver
            finally:
                await driver.stop()

    async def end_offsets(self, topic: str) -> dict[int, int]:
        async with self._asking() as driver:
            found = await driver.end_offsets([TopicPartition(topic, n) for n in await self._partitions(topic)])
        return {partition.partition: offset for partition, offset in found.items()}

    async def start_offsets(self, topic: str) -> dict[int, int]:
        async with self._asking() as driver:
            found = await driver.beginning_offsets([TopicPartition(topic, n) for n in await self._partitions(topic)])
        return {partition.partition: offset for partition, offset in found.items()}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        admin = await self._client()
        with translating("Kafka does not answer"):
            found = await admin.list_consumer_group_offsets(group)
        return {p.partition: held.offset for p, held in found.items() if p.topic == topic and held.offset >= 0}

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        admin = await self._client()
        with translating("Kafka does not answer"):
            known = set(await admin.list_topics())
            missing = [
                NewTopic(name, partitions, self._settings.replication_factor, topic_configs=dict(config))
                for name, (partitions, config) in topics.items()
                if name not in known
            ]
            if missing:
                answer = await admin.create_topics(missing)
                for name, code, *_ in answer.topic_errors:
                    if code not in (0, kafka.TopicAlreadyExistsError.errno):
                        raise Permanent(f"topic {name} cannot be made: {kafka.for_code(code).__name__}")

    async def ping(self) -> None:
        admin = await self._client()
        with translating("Kafka does not answer"):
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                await admin.describe_cluster()

    async def _partitions(self, topic: str) -> list[int]:
        admin = await self._client()
        with translating("Kafka does not answer"):
            (found,) = await admin.describe_topics([topic])
        if found["error_code"]:
            raise Permanent(f"topic {topic} does not exist: run `onefold prepare`")
        return sorted(int(entry["partition"]) for entry in found["partitions"])

    async def _client(self) -> Any:
        if self._admin is None:
            admin = AIOKafkaAdminClient(
                bootstrap_servers=self._settings.kafka_bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS
            )
            with translating("Kafka does not answer"):
                try:
                    await admin.start()
                except BaseException:
                    await admin.close()
                    raise
            self._admin = admin
        return self._admin

    async def aclose(self) -> None:
        if self._admin is not None:
            admin, self._admin = self._admin, None
            await admin.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


async def _started(driver: Any) -> None:
    """Start a driver object; what could not start is stopped, so that nothing of it stays behind."""
    try:
        await driver.start()
    except BaseException:
        await driver.stop()
        raise


class KafkaProducer:
    """An idempotent producer with acks=all."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        with translating("a record was not written"):
            async with asyncio.timeout(SEND_TIMEOUT_MS / 1000):
                waiting = []
                try:
                    for record in records:
                        waiting.append(
                            await self._driver.send(
                                record.topic, record.value, record.key, record.partition, headers=list(record.headers)
                            )
                        )
                finally:
                    done = await asyncio.gather(*waiting, return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise translated(result, "a record was not written") from result
        return [(result.partition, result.offset) for result in done if not isinstance(result, BaseException)]

    async def aclose(self) -> None:
        with contextlib.suppress(kafka.KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(self._driver.stop(), 10)


class KafkaConsumer:
    """A member of a group, or a reader of everything."""

    def __init__(self, driver: Any, group: str | None) -> None:
        self._driver, self._group = driver, group

    async def poll(self, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
        with translating("Kafka does not answer"):
            found = await self._driver.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return {
            Partition(place.topic, place.partition): [
                Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
            for place, records in found.items()
            if records
        }

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._group is None:
            return
        mine = self._driver.assignment()
        wanted = {TopicPartition(p.topic, p.number): offset for p, offset in offsets.items()}
        kept = {place: offset for place, offset in wanted.items() if place in mine}
        if not kept:
            return
        with translating("Kafka does not answer"), contextlib.suppress(kafka.CommitFailedError, kafka.IllegalStateError):
            await self._driver.commit(kept)

    async def seek(self, partition: Partition, offset: int) -> None:
        self._driver.seek(TopicPartition(partition.topic, partition.number), offset)

    async def aclose(self) -> None:
        with contextlib.suppress(kafka.KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(self._driver.stop(), 10)
