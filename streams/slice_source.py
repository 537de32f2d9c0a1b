"""Where an agent's slices come from: the port between the agent and whatever reads its topic.

Faust reads in production (`streams.faust_app`), a broker in memory in tests (`streams.testing`). Both keep the same promises:

- At least once. The offset that is committed for a partition is that of a slice which was acknowledged, and before it every slice
  that was delivered earlier of the same partition.
- An acknowledgement counts for the very delivery it was given for. After a rebalance the records come again in other slices.
- A partition starts where `start_offset` says, and no slice of it is delivered before that is known.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.bus.port import Partition, Record
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class DeliveredSlice:
    """Consecutive records of one partition, as one poll brought them. `partition` has the full name of the topic.

    `generation` is the one of the consumer group when the slice was read: it grows with every rebalance. `ack` says that the slice
    is done; it may be called at any time, and does nothing if the generation is another by then.
    """

    partition: Partition
    generation: int
    records: Sequence[Record]
    ack: Callable[[], object]


Deliver = Callable[[DeliveredSlice], Awaitable[None]]
"""Takes the next slice. It waits while the slice's partition has enough to do, so that the source reads no further."""


class Assignment(Protocol):
    """What a source asks and tells about its partitions. Called in the event loop of the agent, never in a consumer's thread."""

    async def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Take over these partitions, and no others.

        Returns the stored position of each, after which it must not start. A partition without any state is missing.
        """
        ...

    async def on_revoked(self) -> None:
        """Prepare to lose the partitions: begin nothing new, and let the slices in hand finish within a bound."""
        ...

    def on_failure(self, error: BaseException) -> None:
        """Take note that the source cannot find out where to start, or cannot read any more: the process must start again."""
        ...


class SliceSource(Protocol):
    """A member of the agent's consumer group."""

    @property
    def generation(self) -> int:
        """The current generation of the group: slices of another one are out of date."""
        ...

    @property
    def ended(self) -> bool:
        """True when the source reads no more, because of `aclose` or of a fault."""
        ...

    async def start(self) -> None:
        """Join the group. Returns before partitions are assigned."""
        ...

    async def commit(self) -> None:
        """Commit what is acknowledged."""
        ...

    async def aclose(self) -> None:
        """Leave the group, without committing anything more."""
        ...


class OpenSliceSource(Protocol):
    """Makes the source of one agent."""

    def __call__(
        self, settings: Settings, agent: str, topic: str, *, assignment: Assignment, deliver: Deliver, first_offset: int = 0
    ) -> SliceSource:
        """Make a source that reads `topic` (the register's name) as the group of `agent`. It does nothing before `start`.

        `first_offset` is where the partitions of the broker's log begin: see `runtime.bus.epochs`.
        """
        ...


def start_offset(*, earliest: int, committed: int | None, stored: int | None) -> int:
    """Return where a partition starts: the smaller of its committed offset and its stored position, if it still exists.

    Each of the two can be behind. The committed offset is behind when a worker died between saving and committing. The stored
    position is behind when the store came back without its last writes. To start too early is always right, since a replay changes
    nothing; to start too late would lose records. Without a commit the partition starts at its earliest offset.

    Example: committed 50, stored 30, earliest 0 gives 30. If Kafka has deleted all before offset 45 meanwhile, it gives 45.
    """
    start = earliest if committed is None else committed
    return max(earliest, start if stored is None else min(start, stored))
