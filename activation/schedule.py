"""The messages of one destination that wait, by profile and in their order: which of them is tried next, and when. Pure.

The topic `retries` has the same messages durably; this is what a worker knows of the partitions that it has. Only the first message
of a profile is ever due, so that the later ones cannot overtake it. A partition is closed until its records are read to their end,
because until then a message may seem to wait whose end comes later in the topic.

Example: profile A waits with the offsets 7 (due at 12:00:05) and 9, profile B with 8 (due at 12:00:01). At 12:00:02 `take_due`
returns 8. When 7 has been delivered at 12:00:05, 9 becomes due at once.
"""

import heapq
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

_QueueId = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits. `transition` is encoded, since as an object it would take several times the memory.

    `partition` is that of `retries`, and `offset` that of the transition in `memberships`. The other fields are those of
    `WaitingDelivery`.
    """

    key: str
    profile_id: str
    partition: int
    offset: int
    transition: bytes = field(repr=False)
    attempts: int
    since_ms: int
    due_ms: int
    resent_ms: int = 0

    @property
    def queue_id(self) -> tuple[int, str]:
        """The queue of the message: its partition and its profile."""
        return self.partition, self.profile_id

    @property
    def position(self) -> tuple[int, str]:
        """The place of the message in its queue."""
        return self.offset, self.key


class Schedule:
    """The waiting messages of one destination in the partitions that its worker has. No method waits for anything."""

    def __init__(self) -> None:
        self._by_key: dict[str, Waiting] = {}
        self._queues: dict[_QueueId, list[Waiting]] = {}
        self._due: list[tuple[int, int, _QueueId]] = []
        """A heap of (due_ms, tie-breaker, queue). An entry that no longer fits the first message of its queue is passed over."""
        self._under_way: set[_QueueId] = set()
        self._open_partitions: set[int] = set()
        self._tie_breaker = count()
        self.bytes = 0
        """The size of the encoded transitions."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._by_key.values())

    def put(self, waiting: Waiting) -> None:
        """Add a message, or replace the one with its key."""
        self.remove(waiting.key)
        self._by_key[waiting.key] = waiting
        self.bytes += len(waiting.transition)
        insort(self._queues.setdefault(waiting.queue_id, []), waiting, key=lambda other: other.position)
        self._push_first(waiting.queue_id)

    def get(self, key: str) -> Waiting | None:
        """Return the message with this key if it waits."""
        return self._by_key.get(key)

    def remove(self, key: str) -> None:
        """Remove a message that has ended, or nothing; the next one of its profile comes first then."""
        waiting = self._by_key.pop(key, None)
        if waiting is None:
            return
        self.bytes -= len(waiting.transition)
        queue = self._queues[waiting.queue_id]
        queue.remove(waiting)
        if queue:
            self._push_first(waiting.queue_id)
        else:
            del self._queues[waiting.queue_id]

    def has_waiting(self, partition: int, profile_id: str) -> bool:
        """Return whether a message of the profile waits, so that a later one must wait behind it."""
        return (partition, profile_id) in self._queues

    def take_due(self, now_ms: int, limit: int) -> list[Waiting]:
        """Return up to `limit` messages that are due, at most one of each profile; `release` must follow for each."""
        taken: list[Waiting] = []
        while len(taken) < limit and self._due and self._due[0][0] <= now_ms:
            due_ms, _, queue_id = heapq.heappop(self._due)
            queue = self._queues.get(queue_id)
            if queue is None or queue_id in self._under_way or queue_id[0] not in self._open_partitions:
                continue
            if queue[0].due_ms == due_ms:
                self._under_way.add(queue_id)
                taken.append(queue[0])
        return taken

    def release(self, waiting: Waiting) -> None:
        """Note that the attempt with a message that `take_due` returned is over."""
        self._under_way.discard(waiting.queue_id)
        self._push_first(waiting.queue_id)

    def open_partition(self, partition: int) -> None:
        """Let the messages of a partition become due."""
        self._open_partitions.add(partition)
        for queue_id in [queue_id for queue_id in self._queues if queue_id[0] == partition]:
            self._push_first(queue_id)

    def _push_first(self, queue_id: _QueueId) -> None:
        queue = self._queues.get(queue_id)
        if queue and queue_id not in self._under_way and queue_id[0] in self._open_partitions:
            heapq.heappush(self._due, (queue[0].due_ms, next(self._tie_breaker), queue_id))
