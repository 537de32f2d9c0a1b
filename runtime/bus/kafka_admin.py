"""Requests to Kafka besides reading and writing: topics, offsets, commits."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from runtime.bus.kafka_errors import translate_error, translate_errors
from runtime.bus.kafka_positions import ISOLATION_LEVEL
from runtime.errors import Permanent, Transient

_METADATA_TIMEOUT_S: Final = 3.0
_METADATA_POLL_S: Final = 0.05


class KafkaAdmin:
    """Keeps one connection for requests, made when first needed and made again after a failure."""

    def __init__(self, options: Mapping[str, Any], replication_factor: int, timeout_s: float) -> None:
        self._options = options
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
                    await client.start()
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

    async def partitions(self, topics: Sequence[str]) -> dict[str, list[int]]:
        """Return the partitions of topics, once all have leaders. Waits a moment: a new topic reaches the metadata late."""
        deadline = asyncio.get_running_loop().time() + _METADATA_TIMEOUT_S
        while True:
            async with self._clients("the partitions of topics") as (client, _):
                described = await client.describe_topics(list(topics))
            partitions_by_topic = {
                topic["topic"]: sorted(entry["partition"] for entry in topic["partitions"])
                for topic in described
                if topic["partitions"] and all(entry["leader"] >= 0 for entry in topic["partitions"])
            }
            missing = [topic for topic in topics if topic not in partitions_by_topic]
            if not missing:
                return partitions_by_topic
            if asyncio.get_running_loop().time() > deadline:
                raise Permanent(f"topic {missing[0]} does not exist: create it first")
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
        await self.partitions(list(topics))

    async def _topic_partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in (await self.partitions([topic]))[topic]]
