"""Requests to Kafka besides reading and writing: topics, offsets, commits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    LeaderNotAvailableError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from runtime.bus.epochs import LogIdentity
from runtime.bus.kafka_connection import start_client
from runtime.bus.kafka_errors import translate_error, translate_errors
from runtime.bus.kafka_metadata import read_log_identity
from runtime.bus.kafka_positions import ISOLATION_LEVEL
from runtime.bus.port import ENFORCED_CONFIG
from runtime.errors import OnefoldError, Permanent, Transient

_METADATA_TIMEOUT_S: Final = 3.0
_METADATA_POLL_S: Final = 0.05
_SET_ON_THE_TOPIC: Final = 1
"""The number by which Kafka says that a setting is the topic's own and no default."""


class KafkaAdmin:
    """Keeps one connection for requests, made when first needed and made again after a failure."""

    def __init__(
        self,
        options: Mapping[str, Any],
        replication_factor: int,
        timeout_s: float,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._monotonic_s = monotonic_s
        self._replication_factor = replication_factor
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._client: AIOKafkaAdminClient | None = None
        self._inspector: AIOKafkaConsumer | None = None

    @asynccontextmanager
    async def _clients(self, operation: str) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaConsumer]]:
        """Lend a client for topics and one for offsets; both are closed when the block fails with Transient."""
        clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        try:
            async with translate_errors(operation), asyncio.timeout(self._timeout_s):
                clients = await self._connect()
                yield clients
        except Transient:
            if clients is not None and self._client is clients[0]:
                await self.aclose()
            raise

    async def _connect(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        async with self._connecting:
            if self._client is None or self._inspector is None:
                client = AIOKafkaAdminClient(**self._options)
                inspector = AIOKafkaConsumer(**self._options, enable_auto_commit=False, isolation_level=ISOLATION_LEVEL)
                try:
                    await start_client(client, self._options)
                    await inspector.start()
                except BaseException:
                    await client.close()
                    await inspector.stop()
                    raise
                self._client, self._inspector = client, inspector
            return self._client, self._inspector

    async def aclose(self) -> None:
        client, inspector = self._client, self._inspector
        self._client = self._inspector = None
        if client is not None:
            await client.close()
        if inspector is not None:
            await inspector.stop()

    async def ping(self) -> None:
        """Ask a broker for the cluster. Raises Transient when none answers."""
        async with self._clients("a ping") as (client, _):
            await client.describe_cluster()

    async def log_identity(self, topics: Sequence[str]) -> LogIdentity:
        """Return the id of the cluster, and those of the topics that exist. Raises Transient when no broker answers."""
        async with self._clients("the identity of the log") as (client, _):
            return await read_log_identity(client, topics)

    async def partitions(self, topics: Sequence[str], *, must_exist: bool = False) -> dict[str, list[int]]:
        """Return the partitions of topics, once all have leaders. Waits a moment: a new topic reaches the metadata late.

        Raises Permanent when the broker says for that long that it has no such topic. Raises Transient when it does not answer,
        when a partition has no leader, and also for a missing topic that `must_exist`.
        """
        first_answer_s: float | None = None
        while True:
            async with self._clients("the partitions of topics") as (client, _):
                described = {topic["topic"]: topic for topic in await client.describe_topics(list(topics))}
            problems = [
                error
                for topic in topics
                if (error := _topic_problem(topic, described.get(topic), must_exist=must_exist)) is not None
            ]
            if not problems:
                return {topic: sorted(entry["partition"] for entry in described[topic]["partitions"]) for topic in topics}
            # Counted from the first answer: the time that a slow broker takes for it says nothing about the topic.
            first_answer_s = self._monotonic_s() if first_answer_s is None else first_answer_s
            if self._monotonic_s() - first_answer_s > _METADATA_TIMEOUT_S:
                raise next((error for error in problems if not isinstance(error, Transient)), problems[0])
            await asyncio.sleep(_METADATA_POLL_S)

    async def offsets(self, topic: str, side: Literal["start", "end"]) -> dict[int, int]:
        """Return the earliest or the next offset of each partition; the next one ends at the first open transaction."""
        topic_partitions = await self._topic_partitions(topic)
        async with self._clients("the offsets of a topic") as (_, inspector):
            offsets = await (
                inspector.beginning_offsets(topic_partitions) if side == "start" else inspector.end_offsets(topic_partitions)
            )
        return {topic_partition.partition: offset for topic_partition, offset in sorted(offsets.items())}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the group's commits; partitions without one are missing."""
        topic_partitions = await self._topic_partitions(topic)
        async with self._clients("the commits of a group") as (client, _):
            commits = await client.list_consumer_group_offsets(group, partitions=topic_partitions)
        return {
            topic_partition.partition: commit.offset for topic_partition, commit in sorted(commits.items()) if commit.offset >= 0
        }

    async def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
        """Create the topics that are missing; return once all can be written to."""
        new_topics = [
            NewTopic(name, partitions, self._replication_factor, topic_configs=dict(config))
            for name, (partitions, config) in topics.items()
        ]
        async with self._clients("new topics") as (client, _):
            response = await client.create_topics(new_topics)
        for name, code, *_rest in response.topic_errors:
            error = for_code(code)
            if error not in (NoError, TopicAlreadyExistsError):
                raise translate_error(f"topic {name}", error()) from error()
        await self.partitions(list(topics), must_exist=True)
        await self._correct_configs({name: config for name, (_, config) in topics.items()})

    async def _correct_configs(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Give topics that existed the settings that ENFORCED_CONFIG names. What an operator has set otherwise stays."""
        enforced = {
            topic: {name: value for name, value in config.items() if name in ENFORCED_CONFIG} for topic, config in configs.items()
        }
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic, config in enforced.items() if config]
        if not resources:
            return
        async with self._clients("the configuration of topics") as (client, _):
            corrected = []
            for _error, _message, _type, topic, entries in _described_resources(await client.describe_configs(resources)):
                own = {name: value for name, value, _, source, *_rest in entries if source == _SET_ON_THE_TOPIC}
                if any(own.get(name) != value for name, value in enforced[topic].items()):
                    # This request replaces all settings of the topic, so the others are sent along.
                    corrected.append(ConfigResource(ConfigResourceType.TOPIC, topic, {**own, **enforced[topic]}))
            if corrected:
                for code, _message, _type, topic in _described_resources(await client.alter_configs(corrected)):
                    if (error := for_code(code)) is not NoError:
                        raise translate_error(f"the configuration of topic {topic}", error()) from error()

    async def _topic_partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in (await self.partitions([topic]))[topic]]


def _described_resources(responses: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    return (resource for response in responses for resource in response.resources)


def _topic_problem(name: str, described: Mapping[str, Any] | None, *, must_exist: bool) -> OnefoldError | None:
    """Return why a topic cannot be used, by the broker's answer about it; None when it can."""
    error = UnknownTopicOrPartitionError if described is None else for_code(described["error_code"])
    if error is UnknownTopicOrPartitionError:
        if must_exist:
            return Transient(f"topic {name} has not reached the broker's metadata")
        return Permanent(f"topic {name} does not exist: create it first")
    if described is None or error not in (NoError, LeaderNotAvailableError):
        return translate_error(f"topic {name}", error())
    partitions = described["partitions"]
    if error is LeaderNotAvailableError or not partitions or any(entry["leader"] < 0 for entry in partitions):
        return Transient(f"topic {name} has a partition without a leader: are all brokers up?")
    return None
