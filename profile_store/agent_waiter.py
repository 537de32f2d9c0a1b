"""Publishes records for an agent, and waits until the agent has applied them.

An agent stores the next offset of a partition beside the state that its records changed (`Checkpoint.position`). So a record at
offset 41 has been applied, and its state can be read, once the position of its partition is at least 42. An agent that does not get
there in time is reported by one error, `AgentBehind`, whatever command was waiting for it.

Example: 1,000 touches are published, the last ones at offset 70 of partition 0 and at offset 41 of partition 1. The wait ends when
the segment agent's positions are at least 71 and 42.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from profile_store.port import ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.polling import poll_until

RequiredPositions = Mapping[TopicPartition, int]
"""By topic partition, the position that its agent must reach: one more than the offset of the last record."""

AGENT_TIMEOUT_S: Final = 120.0
"""How long an agent may take for a chunk of records that it normally applies within a second."""
AGENT_BY_TOPIC: Final[Mapping[str, str]] = {"events": "unify", "links": "link", "touched": "segment", "groups": "group"}
"""The agent that reads a topic and stores its position; `onefold status` lists the workers that run the agents."""


class AgentBehind(Transient):
    """An agent has not passed a published record in time. The record is durable: the agent will apply it once it runs.

    `agent` is the agent's name, `topic_partition` the partition that it is behind in, `position` the next offset that it would
    apply, and `required` the position that was waited for. `lag` is how many records lie between the two.
    """

    def __init__(self, agent: str, topic_partition: TopicPartition, *, position: int, required: int) -> None:
        self.agent = agent
        self.topic_partition = topic_partition
        self.position = position
        self.required = required
        self.lag = required - position
        super().__init__(
            f"the {agent} agent is {self.lag:,} records behind in {topic_partition.topic} partition {topic_partition.partition} "
            f"(at offset {position:,}): are the stream workers running? see `onefold status`"
        )


def _never_cancelled() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class AgentWaiter:
    """Publishes records to one topic of the register, `topic` with `partition_count` partitions, and waits for its agent."""

    store: ProfileStore
    topic: str
    partition_count: int
    timeout_s: float = AGENT_TIMEOUT_S
    poll_s: float = 0.05

    async def publish(self, producer: Producer, records: Sequence[Outgoing]) -> dict[TopicPartition, int]:
        """Publish the records, and return the positions that the agent will have reached once it has applied all of them.

        Raises what `Producer.send` raises; some of the records may have been written then.
        """
        required: dict[TopicPartition, int] = {}
        for partition, offset in await producer.send(records):
            topic_partition = TopicPartition(self.topic, partition, self.partition_count)
            required[topic_partition] = max(required.get(topic_partition, 0), offset + 1)
        return required

    async def wait_until_passed(self, required: RequiredPositions, *, cancelled: Callable[[], bool] = _never_cancelled) -> bool:
        """Return true once the agent has reached the required positions, or false as soon as `cancelled` says so.

        Raises AgentBehind, which names the partition with the largest lag, when `timeout_s` has passed before that; Transient when
        the store does not answer.
        """
        lags: dict[TopicPartition, int] = {}
        was_cancelled = False

        async def is_settled() -> bool:
            nonlocal lags, was_cancelled
            lags = {
                topic_partition: lag
                for topic_partition, position in required.items()
                if (lag := position - await self._position(topic_partition)) > 0
            }
            # Asked only while the agent is behind: what has been applied counts, even if nobody needs it any more.
            was_cancelled = bool(lags) and cancelled()
            return was_cancelled or not lags

        if await poll_until(is_settled, self.timeout_s, self.poll_s):
            return not was_cancelled
        behind = max(lags, key=lags.__getitem__)
        raise AgentBehind(AGENT_BY_TOPIC[self.topic], behind, position=required[behind] - lags[behind], required=required[behind])

    async def publish_and_wait(
        self, producer: Producer, records: Sequence[Outgoing], *, cancelled: Callable[[], bool] = _never_cancelled
    ) -> bool:
        """Publish the records and wait until the agent has passed them. Returns and raises as `publish` and `wait_until_passed`."""
        return await self.wait_until_passed(await self.publish(producer, records), cancelled=cancelled)

    async def _position(self, topic_partition: TopicPartition) -> int:
        return (await self.store.checkpoint(topic_partition)).position or 0
