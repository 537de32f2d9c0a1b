"""Slices: one Faust event for all records that one poll brought from one partition.

Faust's price is paid for each thing that it hands to an agent, so it is handed slices. `SliceScheduler` and `SliceSchema` make
them by public hooks. A stock consumer takes the space between two slices' offsets for a gap and commits past slices that no
agent has seen, so `SliceConsumer` keeps the commits, and decides where a partition starts.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Collection, Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.transport import drivers
from faust.transport.drivers import aiokafka as kafka
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, AppT, ConsumerMessage
from faust.types import Message as FaustMessage

from runtime.bus.record_limits import FETCH_WAIT_MS

SCHEME: Final = "slices"
COMMIT_TIMEOUT_S: Final = 5.0


class Assignment(Protocol):
    """What the consumer asks and tells about its partitions. Called in the app's event loop, never in the consumer's thread."""

    async def on_assigned(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """The offset after which each partition must not start; a partition without a say is missing."""
        ...

    async def on_revoked(self) -> None:
        """The partitions are about to go: begin nothing new, and let what is in hand finish within a bound."""
        ...

    def on_failure(self, error: BaseException) -> None:
        """The consumer cannot find out where to start: the process must start again."""
        ...


class SliceApp(faust.App):
    """A Faust app over slices. `assignment` is set before it starts."""

    assignment: Assignment


class Slice:
    """Consecutive records of one partition, shaped like one record whose offset is that of the last."""

    __slots__ = ("offset", "partition", "timestamp", "timestamp_type", "topic", "value")

    checksum: ClassVar[None] = None
    headers: ClassVar[tuple[()]] = ()
    key: ClassVar[None] = None
    serialized_key_size: ClassVar[int] = 0
    serialized_value_size: ClassVar[int] = 0

    def __init__(self, tp: TP, records: list[Any]) -> None:
        last_record = records[-1]
        self.topic: str = tp.topic
        self.partition: int = tp.partition
        self.offset: int = last_record.offset
        self.timestamp: int = last_record.timestamp
        self.timestamp_type: int = last_record.timestamp_type
        self.value = records


class SliceScheduler(DefaultSchedulingStrategy):
    """Hands on each partition's records of a poll as one `Slice`."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Slice]]:
        """One slice per partition that has records."""
        return ((tp, Slice(tp, partition_records)) for tp, partition_records in records.items() if partition_records)


class SliceSchema(faust.Schema[Any, Any]):
    """Decodes nothing, so nothing can fail before the agent: the value is the list of aiokafka records, bytes inside."""

    def loads_key(self, app: AppT, message: FaustMessage, *, loads: Any = None, serializer: Any = None) -> None:
        """A slice has no key."""

    def loads_value(  # the hook's shape
        self,
        app: AppT,  # noqa: ARG002
        message: FaustMessage,
        *,
        loads: Any = None,  # noqa: ARG002
        serializer: Any = None,  # noqa: ARG002
    ) -> Any:
        """The records of the slice."""
        return message.value


class SliceThread(kafka.AIOKafkaConsumerThread):
    """The consumer's thread, with short fetches."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # While a fetch for idle partitions waits at the broker, the others are not fetched: Faust's fixed 1.5 s is a delay for all.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class SliceConsumer(kafka.Consumer):
    """Commits a slice only when it and every slice delivered before it on its partition is acknowledged.

    An acknowledgement counts only for the very delivery it was given for: after a rebalance or a seek the records come again in
    other slices, and those wait for their own. A slice that is never acknowledged holds the commit back: seen as lag, healed by
    a restart, never a loss. A partition starts from the smaller of its committed offset and what `Assignment.assigned` says.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._uncommitted: defaultdict[TP, deque[FaustMessage]] = defaultdict(deque)  # deliveries that are not committed, in order
        self._may_fetch = asyncio.Event()
        self._seeking = asyncio.Lock()
        self._fetch: asyncio.Future[Any] | None = None
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> SliceThread:
        return SliceThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _assignment(self) -> Assignment:
        return cast("SliceApp", self.app).assignment

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        message = super()._to_message(tp, record)
        read_offset = self._read_offset[tp]
        if read_offset is None or record.offset >= read_offset:  # else Faust drops it
            self._uncommitted[tp].append(message)
        return message

    def ack(self, message: FaustMessage) -> bool:
        """Count a delivery as done. One from before the last rebalance counts no more: someone else may have the partition."""
        if message.generation_id != self.app.consumer_generation_id:
            return False
        is_first_ack = super().ack(message)
        self._acked[message.tp]  # commits go through these keys only; a replay below the committed offset must empty the line too
        return is_first_ack

    def _new_offset(self, tp: TP) -> int | None:
        deliveries, last_acked_offset = self._uncommitted[tp], None
        while deliveries and deliveries[0].acked:
            last_acked_offset = deliveries.popleft().offset
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None if last_acked_offset is None else last_acked_offset + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """What lies between two slices' offsets is a slice, not a gap."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - the hook's shape
        """Fetch, but never while a seek is under way: records from before it would count as read after it."""
        await self._may_fetch.wait()
        self._fetch = asyncio.ensure_future(super()._getmany(active_partitions, timeout))
        return await asyncio.shield(self._fetch)

    async def perform_seek(self) -> None:
        """Start every assigned partition where it must start; fetching waits until then."""
        async with self._seeking:
            self._may_fetch.clear()
            if self._fetch is not None:
                await asyncio.wait([self._fetch])
            self._uncommitted.clear()
            try:
                # Faust waits no longer than its request timeout, and then does nothing at all for ever
                async with asyncio.timeout(0.8 * self.app.conf.broker_request_timeout):
                    await self._seek_to_starts()
            except IllegalStateError:
                raise  # rebalanced meanwhile: Faust seeks again
            except Exception as error:
                self._assignment.on_failure(error)
                raise
            self._may_fetch.set()

    async def _seek_to_starts(self) -> None:
        partitions = self.assignment()
        if not partitions:
            return
        committed: Mapping[TP, int | None] = await self.seek_to_committed()
        earliest = await self.earliest_offsets(*partitions)
        latest_starts = await self._assignment.on_assigned(partitions)
        starts = {}
        for tp in partitions:
            committed_offset = committed.get(tp)
            start = earliest[tp] if committed_offset is None else committed_offset
            starts[tp] = max(earliest[tp], min(start, latest_starts.get(tp, start)))
            if committed_offset is None:
                self._committed_offset.pop(tp, None)
            else:
                self._committed_offset[tp] = committed_offset
            self._read_offset[tp] = None
        await self.seek_wait(starts)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Nothing is fetched before the starts are known."""
        self._may_fetch.clear()
        if not assigned:
            await self._assignment.on_assigned(())
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the slices in hand finish and commit them, before Faust forgets their acknowledgements."""
        await self._assignment.on_revoked()
        await _wait_at_most(self.commit(), COMMIT_TIMEOUT_S)
        await super().on_partitions_revoked(revoked)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: pausing a partition makes the next poll a second late, and a full queue holds the fetcher anyway."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust's own watch takes a slow slice for a fault. Lag and the slice metrics tell what is slow."""


async def _wait_at_most(awaitable: Awaitable[object], seconds: float) -> None:
    """Give it that long; what is not committed in time comes again."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        return


class SliceTransport(kafka.Transport):
    """The transport of `slices://host:port`."""

    Consumer = SliceConsumer


drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{SliceTransport.__name__}"
