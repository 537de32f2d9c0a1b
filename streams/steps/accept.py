"""Accept: validate and normalise what other systems wrote to `touchpoints`, as the collector does. Keeps no state."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.intake.rejection import Rejection
from domain.intake.touchpoints import parse_touchpoint
from domain.intake.trust import Trust
from profile_store.port import TopicPartition
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.quarantine import build_quarantine_record
from streams.outcome import Outcome


class AcceptStep:
    """Reads `touchpoints` and writes `events`.

    `sources` returns the sources that may write to the topic, with their trust. `admit` enriches each event, or rejects it by the
    tracking plan. `namespaces` returns those that identifiers may have.
    """

    name = "accept"
    topic = "touchpoints"

    def __init__(
        self,
        settings: Settings,
        sources: Callable[[], Mapping[str, Trust]],
        admit: Callable[[Event], Event | Rejection] | None = None,
        namespaces: Callable[[], Namespaces] = lambda: SHIPPED_NAMESPACES,
    ) -> None:
        self._settings, self._sources, self._admit, self._namespaces = settings, sources, admit, namespaces
        self._secret = settings.tenant_key

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:  # noqa: ARG002 - the step's shape
        """Parse each record into events. Their ids come from topic, partition and offset, so a replay gives the same events."""
        produce: list[Outgoing] = []
        results: Counter[str] = Counter()
        namespaces = self._namespaces()
        for record in records:
            for result in parse_touchpoint(
                record.value,
                record_id=f"{record.topic}-{record.partition}-{record.offset}",
                sources=self._sources(),
                received_ms=record.timestamp_ms,
                secret=self._secret,
                country=self._settings.default_country,
                admit=self._admit,
                namespaces=namespaces,
            ):
                if isinstance(result, Event):
                    produce.append(Outgoing(self._settings.topic("events"), encode(result), key=result.key.encode()))
                    results["accepted"] += 1
                else:
                    produce.append(self._to_quarantine(record, result, now_ms))
                    results["quarantined"] += 1
        return Outcome(produce=tuple(produce), results=results)

    def _to_quarantine(self, record: Record, rejected: Rejection, now_ms: int) -> Outgoing:
        coordinates = (record.topic, record.partition, record.offset)
        line_suffix = rejected.touchpoint_id.removeprefix(f"{record.topic}-{record.partition}-{record.offset}")
        detail = f"{rejected.path}: {rejected.detail}" if rejected.path else rejected.detail
        quarantine_record = build_quarantine_record(
            self.name, coordinates, rejected.raw, rejected.reason, detail, at_ms=now_ms, counted=True, suffix=line_suffix
        )
        return Outgoing(self._settings.topic("quarantine"), encode(quarantine_record))
