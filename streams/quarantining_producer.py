"""Sends what a step emits, and puts a record that the broker will never take into quarantine in its place."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from runtime.bus.port import Outgoing, Producer
from runtime.bus.record_limits import size_of
from runtime.clock import Clock
from runtime.errors import TooLarge
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import encode
from schemas.hashes import short_hash
from schemas.quarantine import NO_POSITION, build_quarantine_record
from schemas.reasons import Reason
from streams import metrics

log: Final = get_logger(__name__)


class QuarantiningProducer:
    """The producer of one agent. What an agent stores is bounded, and so is what it emits; this is for a broker that takes less.

    A record that is too large is no bug of the step: deciding the slice again makes the same record, and a restart changes nothing.
    The others of the slice are sent, and what is stored is right without it.
    """

    def __init__(self, settings: Settings, agent: str, inner: Producer, clock: Clock) -> None:
        self._settings = settings
        self._agent = agent
        self._inner = inner
        self._clock = clock

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Send the records in their order and wait until they are durable. Raises what the inner producer raises, but TooLarge."""
        try:
            await self._inner.send(records)
        except TooLarge:
            if len(records) == 1:
                await self._quarantine(records[0])
                return
            # Perhaps some have been written already: every reader expects repetitions.
            middle = len(records) // 2
            await self.send(records[:middle])
            await self.send(records[middle:])

    async def _quarantine(self, record: Outgoing) -> None:
        log.error("record_too_large", stage=self._agent, topic=record.topic, bytes=size_of(record))
        metrics.count_results(self._agent, Counter(too_large=1))
        try:
            await self._inner.send([self._quarantine_record(record, record.value)])
        except TooLarge:
            await self._inner.send([self._quarantine_record(record, None)])

    def _quarantine_record(self, record: Outgoing, value: bytes | None) -> Outgoing:
        key, content = ((part or b"").decode(errors="replace") for part in (record.key, record.value))
        topic = record.topic.removeprefix(f"{self._settings.environment}.")
        quarantine_record = build_quarantine_record(
            self._agent,
            NO_POSITION,
            value,
            Reason.TOO_LARGE,
            f"a record of {topic}: {size_of(record)} bytes are more than the broker takes",
            # The same for the same record, however often a replay makes it anew.
            record_id=f"{self._agent}-{topic}-{short_hash(f'{key} {content}')}",
            at_ms=self._clock.now_ms(),
            counted=False,
        )
        return Outgoing(self._settings.topic("quarantine"), encode(quarantine_record))
