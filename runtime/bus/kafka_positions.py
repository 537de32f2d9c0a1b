"""The positions of an aiokafka consumer, read without waiting: what it fetches next of each partition."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from runtime.bus.empty_offsets import passed_over

ISOLATION_LEVEL: Final = "read_committed"
"""Records of an aborted transaction are no records. Flink, Kafka Streams and Connect leave them behind when they recover."""


@dataclass(frozen=True, slots=True)
class Positions:
    """The positions at one instant. They compare only with others of the same assignment."""

    assignment: Any
    by_partition: Mapping[TopicPartition, int]

    def passed_until(
        self, later: "Positions", last_offsets: Mapping[TopicPartition, int]
    ) -> Iterable[tuple[TopicPartition, int, int]]:
        """Yield each partition with the range of offsets at its end that was passed over without a record.

        `last_offsets` has the last record of each partition that was returned in between. After a rebalance nothing is yielded: the
        positions come from another member's commits then, and not from what was read here.
        """
        if self.assignment is None or self.assignment is not later.assignment:
            return
        for partition, position in later.by_partition.items():
            start, end = passed_over(self.by_partition.get(partition), position, last_offsets.get(partition))
            if start < end:
                yield partition, start, end


def read_positions(consumer: AIOKafkaConsumer) -> Positions:
    """Return the positions that are known now. aiokafka's own `position` would wait for those that are not."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or not assignment.active:
        return Positions(None, {})
    states = ((partition, assignment.state_value(partition)) for partition in assignment.tps)
    return Positions(
        assignment, {partition: state.position for partition, state in states if state is not None and state.has_valid_position}
    )
