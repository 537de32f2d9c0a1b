"""The topic `retries` as one worker reads and writes it: the durable form of its `Schedule`.

**Invariant.** The last record of a key counts. A worker reads each of its partitions from the earliest record, and no message of
that partition is sent before the worker has read everything that lay there when it got the partition. It knows that by a marker: a
record without a value that it writes to the partition and reads again. Compaction removes what has ended, so that the topic is
about as large as what waits.

A worker passes over what it has written itself, which its schedule has already. What others wrote it takes in at any time: an
operator's request to send a message again, or the last words of the worker that had the partition before.

The records of a message go to the partition that its transition has in `memberships`, so one worker has both.
"""

import uuid
from typing import Final

from activation.schedule import Schedule, Waiting
from runtime.bus.port import Outgoing, Partition, Record
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.records import Transition, WaitingDelivery

_SESSION_HEADER: Final = "session"


class RetryLog:
    """Builds the records of one session of a worker, and applies what it reads to its schedule."""

    def __init__(self, settings: Settings, destination: str, schedule: Schedule, partition_count: int) -> None:
        self.topic = settings.topic("retries")
        self._destination = destination
        self._schedule = schedule
        self._partition_count = partition_count
        self._session = uuid.uuid4().hex.encode()
        self._applied_offsets: dict[int, int] = {}
        """The last offset that was applied, of each partition that this worker has; -1 before the first."""
        self._marker_offsets: dict[int, int] = {}

    def markers(self, assigned: frozenset[Partition]) -> list[Outgoing]:
        """Take over the partitions of `retries` that are assigned, and return the markers to write to them."""
        numbers = sorted(partition.number for partition in assigned if partition.topic == self.topic)
        self._applied_offsets = dict.fromkeys(numbers, -1)
        return [Outgoing(self.topic, None, key=f"marker/{self._session.decode()}/{n}".encode(), partition=n) for n in numbers]

    def note_markers(self, sent: list[tuple[int, int]]) -> None:
        """Note the partitions and offsets at which the markers lie."""
        self._marker_offsets = dict(sent)
        for number in self._marker_offsets:
            self._open_if_caught_up(number)

    def partition_for(self, memberships_partition: int) -> int:
        """Return the partition for the messages of a partition of `memberships`: the same number, if the topic has that many."""
        return memberships_partition % self._partition_count

    def has_partition(self, number: int) -> bool:
        """Return whether this worker has a partition, so that it is the one that tries its messages again."""
        return number in self._applied_offsets

    def may_send(self, memberships_partition: int) -> bool:
        """Return whether transitions of this partition of `memberships` may be sent: all that waits before them is known."""
        number = self.partition_for(memberships_partition)
        return not self.has_partition(number) or self._is_caught_up(number)

    def apply(self, record: Record) -> None:
        """Take in a record. Raises Undecodable for one that cannot be read; it is passed over from then on."""
        self._applied_offsets[record.partition] = record.offset
        try:
            if (_SESSION_HEADER, self._session) not in record.headers:
                self._apply_foreign(record)
        finally:
            self._open_if_caught_up(record.partition)

    def _apply_foreign(self, record: Record) -> None:
        if record.value is None:
            self._schedule.remove((record.key or b"").decode("utf-8", "replace"))
            return
        waiting_delivery = decode(WaitingDelivery, record.value)
        if waiting_delivery.destination == self._destination:
            self._schedule.put(to_waiting(waiting_delivery, record.partition))

    def to_record(self, waiting: Waiting, transition: Transition, status: int, detail: str) -> Outgoing:
        """Build the record that says that a message waits."""
        waiting_delivery = WaitingDelivery(
            key=waiting.key,
            destination=self._destination,
            transition=transition,
            offset=waiting.offset,
            attempts=waiting.attempts,
            since_ms=waiting.since_ms,
            due_ms=waiting.due_ms,
            status=status,
            detail=detail,
            resent_ms=waiting.resent_ms,
        )
        return self._outgoing(waiting, encode(waiting_delivery))

    def to_end(self, waiting: Waiting) -> Outgoing:
        """Build the record that says that a message has ended."""
        return self._outgoing(waiting, None)

    def _outgoing(self, waiting: Waiting, value: bytes | None) -> Outgoing:
        headers = ((_SESSION_HEADER, self._session),)
        return Outgoing(self.topic, value, key=waiting.key.encode(), partition=waiting.partition, headers=headers)

    def _is_caught_up(self, number: int) -> bool:
        marker_offset = self._marker_offsets.get(number)
        return marker_offset is not None and self._applied_offsets[number] >= marker_offset

    def _open_if_caught_up(self, number: int) -> None:
        if self._is_caught_up(number):
            self._schedule.open_partition(number)


def to_waiting(waiting_delivery: WaitingDelivery, partition: int) -> Waiting:
    """Return a record's message, as the schedule has it."""
    return Waiting(
        key=waiting_delivery.key,
        profile_id=waiting_delivery.transition.profile_id,
        partition=partition,
        offset=waiting_delivery.offset,
        transition=encode(waiting_delivery.transition),
        attempts=waiting_delivery.attempts,
        since_ms=waiting_delivery.since_ms,
        due_ms=waiting_delivery.due_ms,
        resent_ms=waiting_delivery.resent_ms,
    )
