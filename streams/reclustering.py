"""Relink: when the identity rules change, have every cluster looked at again, a few at a time beside the live links."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from domain.identity.rules import CompiledIdentityRules
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import ReclusterRequest
from streams.steps.link import load_link_state

log: Final = get_logger(__name__)

POLL_INTERVAL_S: Final = 1.0
"""How often the rules are compared with those that the clusters stand for."""
CHUNK_CLUSTERS: Final = 200
"""Clusters to be looked at in one record: live links wait no longer than these take."""
PROGRESS_POLL_S: Final = 0.02
CHUNK_TIMEOUT_S: Final = 120.0
"""A chunk that is not done by then has gone astray: the round begins anew."""


class Reclusterer:
    """Rounds over all clusters, while this process has the link agent's partition. A round that is cut off begins anew."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ProfileStore,
        producer: Producer,
        rules: Callable[[], CompiledIdentityRules],
        assigned_partitions: Callable[[], Sequence[TopicPartition]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._producer = producer
        self._rules = rules
        self._assigned_partitions = assigned_partitions

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                for topic_partition in self._assigned_partitions():
                    await self.run_round(topic_partition)
            except Transient as error:
                log.warning("reclustering_delayed", exc_info=error)

    async def run_round(self, topic_partition: TopicPartition) -> bool:
        """A round if the clusters do not stand for the rules of now; whether it was done to its end. Raises Transient."""
        rules_number = self._rules().sequence_number
        if (await load_link_state(self._store, topic_partition)).rules == rules_number:
            return True
        log.info("reclustering_started", rules_number=rules_number)
        count = 0
        async for nodes in self._clusters():
            if not await self._publish_and_wait(
                topic_partition, ReclusterRequest(nodes=tuple(nodes), rules_number=rules_number), rules_number
            ):
                return False
            count += len(nodes)
        if not await self._publish_and_wait(topic_partition, ReclusterRequest(nodes=(), rules_number=rules_number), rules_number):
            return False
        completed = (await load_link_state(self._store, topic_partition)).rules == rules_number
        log.info("reclustering_finished", clusters=count, completed=completed)
        return completed

    async def _publish_and_wait(self, topic_partition: TopicPartition, request: ReclusterRequest, rules_number: int) -> bool:
        """Say a record and wait until the link agent has done it; false when the round has lost its sense meanwhile."""
        topic = self._settings.topic(topic_partition.topic)
        [(_, offset)] = await self._producer.send([Outgoing(topic, encode(request))])
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT_S):
                while ((await self._store.checkpoint(topic_partition)).position or 0) <= offset:
                    if self._rules().sequence_number != rules_number or topic_partition not in self._assigned_partitions():
                        return False
                    await asyncio.sleep(PROGRESS_POLL_S)
        except TimeoutError:
            raise Transient("the link agent does not get on") from None
        return True

    async def _clusters(self) -> AsyncIterator[list[str]]:
        """One node of every cluster of which there is evidence, in chunks."""
        chunk: list[str] = []
        async for node, _ in self._store.scan("edges"):
            chunk.append(node)
            if len(chunk) == CHUNK_CLUSTERS:
                yield await self._representatives(chunk)
                chunk = []
        if chunk:
            yield await self._representatives(chunk)

    async def _representatives(self, nodes: list[str]) -> list[str]:
        """Those that are their profile's id, so that each cluster comes once."""
        labels = await self._store.labels(nodes)
        return [node for node in nodes if labels[node].profile_id == node]
