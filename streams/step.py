"""What an agent does with a slice: load, decide, return. A step never writes and never produces."""

from collections.abc import Sequence
from typing import Protocol

from profile_store.port import TopicPartition
from runtime.bus.port import Record
from streams.outcome import Outcome


class Step(Protocol):
    """`name` is the agent's (also its consumer group's); `topic` is the register's name of what it reads."""

    name: str
    topic: str

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Decide a slice: records of one partition in offset order, some of which may have been applied before.

        Raises Transient when the store does not answer. Anything else that it raises is a bug.
        """
        ...
