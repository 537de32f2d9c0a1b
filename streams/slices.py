"""Slices: one Faust event for all the records that one poll brought from one partition.

**Why.** Faust needs 50 to 75 us for each event that it hands to an agent, and about 2 us a record when the event is a slice.
`SliceScheduler` and `SliceSchema` make slices by Faust's public hooks. But Faust's own consumer counts offsets, not events: to it
the distance between the offsets of two slices is a gap in the log, and it commits past slices that no agent has handled. On a
rebalance those records would be lost. So `SliceConsumer` decides what is committed, and where a partition starts.

**Invariant.** The committed offset of a partition is the end of an acknowledged slice, or of the offsets without a record behind
it, and every slice of the partition that was delivered before is acknowledged too. A slice that is never acknowledged holds back
the commits of its partition: the operator sees lag, and a restart heals it. No record is lost.

**Example.** Three polls bring the slices A (offsets 0-9), B (10-19) and C (20-29) of one partition. C is acknowledged: nothing is
committed. A is acknowledged: 10 is committed. B is acknowledged: 30 is committed, for B and C. If the partition was assigned
anew before that, it started at 10, or at the stored position if that was smaller. The records 10-29 came again in other slices,
and the late acknowledgement of B counts for none of them.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.transport import drivers
from faust.transport.drivers import aiokafka as kafka
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, AppT, ConsumerMessage
from faust.types import Message as FaustMessage

from runtime.bus.empty_offsets import EmptyOffsets
from runtime.bus.kafka_positions import ISOLATION_LEVEL, read_positions
from runtime.bus.port import Partition
from runtime.bus.record_limits import FETCH_WAIT_MS
from streams.slice_source import Assignment, start_offset

SCHEME: Final = "slices"
"""The scheme of the broker's URL by which Faust finds `SliceTransport`."""
COMMIT_TIMEOUT_S: Final = 5.0
"""How long a rebalance waits for its last commit. What is not committed by then comes again."""


class SliceApp(faust.App):
    """A Faust app over slices. `assignment` is set before it starts, and so is `first_offset` (see `runtime.bus.epochs`)."""

    assignment: Assignment
    first_offset: int = 0


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
    """Makes one `Slice` of each partition's records of a poll."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Slice]]:
        """Yield one slice for each partition that has records."""
        return ((tp, Slice(tp, partition_records)) for tp, partition_records in records.items() if partition_records)


class SliceSchema(faust.Schema[Any, Any]):
    """Decodes nothing, so that nothing can fail before the agent: the value is the list of aiokafka records, with their bytes."""

    def loads_key(self, app: AppT, message: FaustMessage, *, loads: Any = None, serializer: Any = None) -> None:
        """Return None: a slice has no key."""

    def loads_value(  # the hook's shape
        self,
        app: AppT,  # noqa: ARG002
        message: FaustMessage,
        *,
        loads: Any = None,  # noqa: ARG002
        serializer: Any = None,  # noqa: ARG002
    ) -> Any:
        """Return the records of the slice."""
        return message.value


class FetchedRecords(dict[TP, list[Any]]):
    """The records of one fetch, with the ranges of offsets that it passed over without a record: (partition, start, end)."""

    empty_ranges: Sequence[tuple[TP, int, int]] = ()


class SliceThread(kafka.AIOKafkaConsumerThread):
    """The thread of the consumer, with short fetches."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # While a fetch for idle partitions waits at the broker, the others are not fetched: Faust's fixed 1.5 s is a delay for all.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        # Faust's own setting for this comes with its transactions, which Onefold does not use.
        consumer._isolation_level = ISOLATION_LEVEL
        return consumer

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        positions = read_positions(consumer)
        records = FetchedRecords(await super()._fetch_records(consumer, *args, **kwargs))
        last_offsets = {tp: tp_records[-1].offset for tp, tp_records in records.items() if tp_records}
        records.empty_ranges = list(positions.passed_until(read_positions(consumer), last_offsets))
        return records


class SliceConsumer(kafka.Consumer):
    """Faust's consumer, with its own bookkeeping of commits, and starts that ask the agent. See the module for its invariant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The deliveries of each partition that are not committed yet, in order. A delivery is recognised by its message object, not
        # by its offset: after a seek other deliveries have the same offsets.
        self._uncommitted: defaultdict[TP, deque[FaustMessage]] = defaultdict(deque)
        # The offset of each partition before which every delivery is acknowledged.
        self._completed: dict[TP, int] = {}
        self._empty_offsets = EmptyOffsets[TP]()
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
        # Faust drops a record below its read offset. Such a delivery would never be acknowledged, and would hold all commits back.
        if read_offset is None or record.offset >= read_offset:
            self._uncommitted[tp].append(message)
        return message

    def ack(self, message: FaustMessage) -> bool:
        """Count a delivery as done. Returns False if it was acknowledged before, or was delivered before the last rebalance.

        After a rebalance another worker may have the partition, so an acknowledgement from before it must not move the commit.
        """
        if message.generation_id != self.app.consumer_generation_id:
            return False
        is_first_ack = super().ack(message)
        # Faust looks for commits only among the partitions that are keys here, and adds no key for offsets below the committed one.
        # A replay must add it too: otherwise its deliveries would stay in `_uncommitted`, before all later ones.
        self._acked[message.tp]
        return is_first_ack

    def _new_offset(self, tp: TP) -> int | None:
        deliveries, before = self._uncommitted[tp], self._completed.get(tp)
        completed = before
        while deliveries and deliveries[0].acked:
            completed = deliveries.popleft().offset + 1
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        if completed is None:
            return None
        # No delivery ever covers these offsets. To leave them out would let the group seem to be behind for ever.
        self._completed[tp] = completed = self._empty_offsets.skip(tp, completed)
        return None if completed == before else completed

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: the offsets between two slices belong to the records of the later slice. They are no gap in the log."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - the hook's shape
        """Fetch, but never while a seek is under way: records from before it would count as read after it.

        The fetch is shielded: Faust may cancel the wait for it, and `perform_seek` must still know when it ends.
        """
        await self._may_fetch.wait()
        self._fetch = asyncio.ensure_future(super()._getmany(active_partitions, timeout))
        records = await asyncio.shield(self._fetch)
        self._note_empty_ranges(records)
        return records

    def _note_empty_ranges(self, records: FetchedRecords) -> None:
        for tp, start, end in records.empty_ranges:
            self._empty_offsets.note(tp, start, end)
            self._acked[tp]  # so that Faust asks for this partition's commit, even if it has no delivery

    async def perform_seek(self) -> None:
        """Seek every assigned partition to its start. Fetching waits until all starts are known.

        A failure other than a further rebalance is reported to the agent, which ends the process: Faust would go on without
        these partitions.
        """
        async with self._seeking:
            self._may_fetch.clear()
            if self._fetch is not None:
                await asyncio.wait([self._fetch])
            self._uncommitted.clear()
            self._completed.clear()
            self._empty_offsets.clear()
            try:
                # Faust gives up this call after its request timeout, and then reads nothing, for ever, without any error.
                async with asyncio.timeout(0.8 * self.app.conf.broker_request_timeout):
                    await self._seek_to_starts()
            except IllegalStateError:
                raise  # There was a rebalance meanwhile, so Faust calls this again.
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
        stored = await self._assignment.on_assigned([Partition(tp.topic, tp.partition) for tp in partitions])
        starts = {}
        for tp in partitions:
            committed_offset = committed.get(tp)
            stored_position = stored.get(Partition(tp.topic, tp.partition))
            starts[tp] = start_offset(
                earliest=earliest[tp],
                committed=committed_offset,
                # Negative for a position in an earlier log: then the partition starts at its earliest record.
                stored=None if stored_position is None else stored_position - cast("SliceApp", self.app).first_offset,
            )
            # Faust commits only above what it takes for committed, so it must not remember what it knew before the rebalance.
            if committed_offset is None:
                self._committed_offset.pop(tp, None)
            else:
                self._committed_offset[tp] = committed_offset
            self._read_offset[tp] = None
        await self.seek_wait(starts)
        self._completed.update(starts)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Stop fetching until `perform_seek` has found where each partition starts.

        Faust does not call `perform_seek` for an assignment without partitions, so the agent is told of that one here.
        """
        self._may_fetch.clear()
        if not assigned:
            await self._assignment.on_assigned(())
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the slices that are being applied finish, and commit them, before Faust forgets their acknowledgements."""
        await self._assignment.on_revoked()
        await _wait_at_most(self.commit(), COMMIT_TIMEOUT_S)
        await super().on_partitions_revoked(revoked)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: to pause a partition would delay the next poll by a second, and a full queue stops the fetcher anyway."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust would take a slow slice for a fault. Lag and the metrics of slices show what is slow."""


async def _wait_at_most(awaitable: Awaitable[object], seconds: float) -> None:
    """Wait for `awaitable`, but no longer than `seconds`, and raise nothing when the time is over."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        return


class SliceTransport(kafka.Transport):
    """The transport of `slices://host:port`."""

    Consumer = SliceConsumer


drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{SliceTransport.__name__}"
