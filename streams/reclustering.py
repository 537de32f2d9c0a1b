"""Reclustering: after a change of the identity rules the link agent resolves every cluster again, in between the live links.

**Why.** The link agent resolves a cluster only when new evidence about it arrives. When the rules change (a blocked value, another
limit), a cluster without new evidence would stay for ever as the old rules made it. So a *round* requests all clusters.

**Invariant.** Only the link agent writes labels. A round writes requests to the agent's own topic, and the agent applies them in
offset order with everything else. The agent's state (`LinkState.rules`) has the number of the rules that *all* clusters follow.
It moves to a new number only with the record that ends a round, and only if every request of the round was decided by those very
rules. A round that is interrupted leaves the old number, so the worker that has the partition afterwards begins the round again.
A second request for the same cluster changes nothing.

**Pace.** A request names the representatives of up to 200 clusters, and the next one is written only when the agent's position has
passed it. So a live link waits behind one request at most, however many clusters there are. Each cluster is asked for once, and
resolving it reads it and the borders of those around it (`domain.identity.closure`): a round takes time in proportion to the nodes.
Each request says how far the round is; the agent notes that in its state, where `onefold apply` and `onefold status` read it.

**Example.** The rules have number 7 (one more than their offset in the definitions) and the agent's state says 5. There is evidence
about 450 nodes in 300 clusters. The scan comes in chunks of 200, 200 and 50 nodes. Of each chunk only the nodes whose label is
themselves are asked for, say 130, 120 and 50: 300 nodes, one for each cluster. The round writes request 1 at offset 40 and waits
until the position is above 40, writes request 2, request 3, and then a request without nodes, which ends the round. If a user
publishes rules number 9 while request 2 is waited for, the round stops there, and a second later a round for number 9 begins.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from domain.identity.rules import CompiledIdentityRules
from profile_store.agent_waiter import AgentWaiter
from profile_store.link_state import load_link_state
from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import ReclusterRequest
from streams import metrics

log: Final = get_logger(__name__)

POLL_INTERVAL_S: Final = 1.0
"""How often the current rules are compared with those that the clusters follow."""
CHUNK_NODES: Final = 200
"""How many nodes one request is made from; it asks for each of their clusters once. A live link waits no longer than these take."""
PROGRESS_POLL_S: Final = 0.02
"""How often the agent's position is read while a request is waited for."""
CHUNK_TIMEOUT_S: Final = 120.0
"""How long a request is waited for. After that the round is given up, and begun again from the start."""


class Reclusterer:
    """Runs a round over all clusters whenever the rules have changed, while this process has the link agent's partition."""

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
        """Compare the rules once a second and run a round when they differ, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                for topic_partition in self._assigned_partitions():
                    await self.run_round(topic_partition)
            except Transient as error:
                log.warning("reclustering_delayed", exc_info=error)

    async def run_round(self, topic_partition: TopicPartition) -> bool:
        """Run a round if the clusters do not follow the current rules. Returns whether all clusters follow them now.

        False means that the rules or the assignment changed meanwhile, or that a request was decided by other rules. Raises
        Transient when the store or the broker does not answer, or when the agent does not pass a request in time.
        """
        rules_number = self._rules().sequence_number
        if (await load_link_state(self._store, topic_partition)).rules == rules_number:
            return True
        # A node without evidence is alone under any rules. One whose first evidence comes later is decided by the new rules anyway.
        nodes = [node async for node, _ in self._store.scan("edges")]
        log.info("reclustering_started", rules_number=rules_number, nodes=len(nodes))
        metrics.show_reclustering(0, len(nodes))
        # Clusters that live links change during the round may be asked for twice or not at all. Both are right: the agent decides
        # what live links touch by the same new rules.
        for start in range(0, len(nodes), CHUNK_NODES):
            chunk = nodes[start : start + CHUNK_NODES]
            resolved = start + len(chunk)
            request = ReclusterRequest(
                nodes=tuple(await self._representatives(chunk)), rules_number=rules_number, resolved=resolved, total=len(nodes)
            )
            # Without nodes it would end the round. The clusters of such a chunk are asked for by other chunks.
            if request.nodes and not await self._publish_and_wait(topic_partition, request, rules_number):
                return False
            metrics.show_reclustering(resolved, len(nodes))
        # The request without nodes ends the round. The agent takes over the new number with it, unless it decided one of the
        # requests by other rules, because it learnt of a change earlier or later than this task.
        if not await self._publish_and_wait(topic_partition, ReclusterRequest(nodes=(), rules_number=rules_number), rules_number):
            return False
        completed = (await load_link_state(self._store, topic_partition)).rules == rules_number
        log.info("reclustering_finished", nodes=len(nodes), completed=completed)
        return completed

    async def _publish_and_wait(self, topic_partition: TopicPartition, request: ReclusterRequest, rules_number: int) -> bool:
        """Write a request and wait until the link agent has applied it.

        Return False when the round has become obsolete: the rules changed again, or another worker has the partition.
        Raises AgentBehind, a Transient fault, when the link agent does not come to the request within CHUNK_TIMEOUT_S.
        """
        waiter = AgentWaiter(
            store=self._store,
            topic=topic_partition.topic,
            partition_count=topic_partition.partition_count,
            timeout_s=CHUNK_TIMEOUT_S,
            poll_s=PROGRESS_POLL_S,
        )

        # Checked at each poll: nothing is gained by waiting for a request of old rules, or in the partition of another worker.
        def is_obsolete() -> bool:
            return self._rules().sequence_number != rules_number or topic_partition not in self._assigned_partitions()

        record = Outgoing(self._settings.topic(topic_partition.topic), encode(request))
        return await waiter.publish_and_wait(self._producer, [record], cancelled=is_obsolete)

    async def _representatives(self, nodes: list[str]) -> list[str]:
        """Return the nodes that are the id of their profile: each cluster has exactly one such node, so it is asked for once."""
        labels = await self._store.labels(nodes)
        return [node for node in nodes if labels[node].profile_id == node]
