"""Waiting until ClickHouse has consumed topics up to given offsets, so that what is read from it is complete up to there.

The consumers note in ClickHouse the next offset of each partition together with the rows of the records before it. A reader that
needs all records before offset 42 waits until the noted offset is at least 42.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from runtime.bus.epochs import log_start
from runtime.errors import Transient
from runtime.polling import poll_until
from warehouse import named_queries
from warehouse.client import Warehouse

RequiredOffsets = Mapping[str, Mapping[int, int]]
"""By topic of the register and partition, the next offset that the consumers must have reached."""

CONSUME_TIMEOUT_S: Final = 120.0
"""How long the consumers may take; at a normal pace they are a second behind."""


class ClickHouseBehind(Transient):
    """ClickHouse has not consumed a topic up to a required offset in time.

    `topic` and `partition` name the partition with the largest lag, `consumed` is the next offset that its consumer has noted,
    `required` the one that was waited for. `lag` is how many records lie between the two.
    """

    def __init__(self, topic: str, partition: int, *, consumed: int, required: int, consequence: str) -> None:
        self.topic = topic
        self.partition = partition
        self.consumed = consumed
        self.required = required
        self.lag = required - consumed
        super().__init__(
            f"ClickHouse is {self.lag:,} records behind in {topic} partition {partition} (at offset {consumed:,}): are the "
            f"consumers running? see `onefold status`; {consequence}"
        )


async def consumed_offsets(warehouse: Warehouse, topic: str) -> dict[int, int]:
    """Return by partition the next offset of a topic (its full name) that the consumers have noted. Raises Transient."""
    return dict(await named_queries.fetch_rows(warehouse, "positions", topic=topic))


async def wait_until_consumed(
    read_consumed: Callable[[str], Awaitable[Mapping[int, int]]],
    required: RequiredOffsets,
    *,
    consequence: str,
    timeout_s: float = CONSUME_TIMEOUT_S,
    poll_s: float = 0.25,
) -> None:
    """Return once ClickHouse has consumed every topic up to its required offsets; `read_consumed` reads those of one topic.

    Raises ClickHouseBehind when `timeout_s` has passed before that, with `consequence` at its end: what the caller has changed by
    then, and what the operator is to do. Raises Transient when ClickHouse does not answer.
    """
    lags: dict[tuple[str, int], int] = {}

    async def is_consumed() -> bool:
        nonlocal lags
        lags = {}
        for topic, offsets in required.items():
            consumed = await read_consumed(topic)
            for partition, offset in offsets.items():
                # Nothing that came before the log of the required offset will ever come, so nobody waits for it.
                if (lag := offset - max(consumed.get(partition, 0), log_start(offset))) > 0:
                    lags[topic, partition] = lag
        return not lags

    if await poll_until(is_consumed, timeout_s, poll_s):
        return
    topic, partition = max(lags, key=lags.__getitem__)
    offset = required[topic][partition]
    raise ClickHouseBehind(topic, partition, consumed=offset - lags[topic, partition], required=offset, consequence=consequence)
