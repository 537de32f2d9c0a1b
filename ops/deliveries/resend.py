"""Sending messages again: the transition is read from `memberships`, and written to `retries`, where its worker finds it.

A message keeps its id and its body, so a receiver that has it drops the repetition. It is tried as long as any other. Kafka keeps
transitions for 30 days; an older message cannot be sent again.

Example: `resend` of a failed delivery of profile A finds its transition at offset 4711 of `memberships`, partition 2. It writes a
record to partition 2 of `retries`, due now. The worker that has this partition sends the message, behind no other one of A, unless
an earlier one waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.deliveries.entries import DeliveryEntry
from runtime.bus.fetch import fetch_records
from runtime.bus.port import Bus, Outgoing, Partition, Producer, Record
from runtime.clock import Clock
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.records import Transition, WaitingDelivery
from warehouse import named_queries
from warehouse.client import Warehouse


@dataclass(frozen=True, slots=True)
class ResendResult:
    """How many messages will be sent again, and (key, reason) of those that cannot be."""

    resent: int
    refused: tuple[tuple[str, str], ...] = ()


class Resender:
    """Has deliveries sent again."""

    def __init__(self, settings: Settings, bus: Bus, producer: Producer | None, clock: Clock) -> None:
        self._settings = settings
        self._bus = bus
        self._producer = producer
        """None for a dry run."""
        self._clock = clock

    async def resend(self, warehouse: Warehouse, entries: Sequence[DeliveryEntry]) -> ResendResult:
        """Have these deliveries sent again, now. Without a producer nothing is written. Raises Transient."""
        places = await self._places(warehouse, entries)
        records = await fetch_records(self._bus, self._settings.topic("memberships"), places.values())
        partition_count = len(await self._bus.end_offsets(self._settings.topic("retries")))
        outgoing: list[Outgoing] = []
        refused: list[tuple[str, str]] = []
        for entry in entries:
            record = records.get(places[entry.key]) if entry.key in places else None
            built = self._build(entry, record, partition_count)
            if isinstance(built, str):
                refused.append((entry.key, built))
            else:
                outgoing.append(built)
        if self._producer is not None and outgoing:
            await self._producer.send(outgoing)
        return ResendResult(len(outgoing), tuple(refused))

    async def _places(self, warehouse: Warehouse, entries: Sequence[DeliveryEntry]) -> dict[str, tuple[Partition, int]]:
        topic = self._settings.topic("memberships")
        rows = await named_queries.fetch_rows(warehouse, "transition_places", keys=[entry.key for entry in entries])
        return {key: (Partition(topic, number), offset) for key, number, offset in rows if offset >= 0}

    def _build(self, entry: DeliveryEntry, record: Record | None, partition_count: int) -> Outgoing | str:
        """Return the record that has the message sent again, or why it cannot be."""
        if entry.state == "skipped":
            return "the policy skipped it: nothing was to be sent"
        if record is None:
            return "its transition is no longer in Kafka, which keeps them for 30 days"
        try:
            transition = decode(Transition, record.value)
        except Undecodable:
            return "its transition cannot be read"
        if (transition.profile_id, transition.segment, transition.seq) != (entry.profile_id, entry.segment, entry.seq):
            return "Kafka has another transition in its place: the topic was made anew"
        now_ms = self._clock.now_ms()
        waiting = WaitingDelivery(
            key=entry.key, destination=entry.destination, transition=transition, offset=record.offset, attempts=0, since_ms=now_ms,
            due_ms=now_ms, resent_ms=now_ms,
        )  # fmt: skip
        number = record.partition % partition_count
        return Outgoing(self._settings.topic("retries"), encode(waiting), key=entry.key.encode(), partition=number)
