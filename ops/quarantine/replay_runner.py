"""Replaying and discarding records at a bounded rate. A record's state changes only once its replacement has been sent."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.definitions.admission_rules import admission_rules
from domain.definitions.consistency import namespaces_of
from domain.definitions.kinds import Source
from domain.intake.admission import Admission
from ops import definitions_topic
from ops.connect import Connection
from ops.quarantine.edits import RecordEdits
from ops.quarantine.entries import PAGE, QuarantineEntry, QuarantineQuery, list_entries, read_entries
from ops.quarantine.replay_decider import ReplayDecider, ReplayRefusal
from runtime.bus.port import Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.geoip import open_locator
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import QuarantineRecord, Settlement
from warehouse.client import Warehouse

CHUNK: Final = 100
MAX_RECORDS: Final = 1_000_000


@dataclass(slots=True)
class ReplayResult:
    """How many records were sent again, and the ids of the others with the reason."""

    sent: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


async def load_replay_decider(connection: Connection) -> ReplayDecider:
    """Build a decider of the live definitions. Raises Transient."""
    live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
    admission = Admission(open_locator(connection.settings.geoip_file))
    admission.replace_rules(admission_rules(live_definitions.values()))
    sources = [definition for definition in live_definitions.values() if isinstance(definition, Source)]
    return ReplayDecider(connection.settings, sources, admission, namespaces_of(live_definitions))


async def matching_ids(warehouse: Warehouse, query: QuarantineQuery) -> list[str]:
    """Return the ids of the records of a query. Raises Invalid when an id of the query does not exist or is not open."""
    ids = [entry.id for entry in await list_entries(warehouse, query)]
    if query.ids and (missing := set(query.ids) - set(ids)):
        raise Invalid(f"{len(missing)} of the ids name no open record: see `onefold quarantine list --state all`", path="id")
    return ids


class ReplayRunner:
    """Works on records, a chunk at a time. `rate` is records per second; `progress` is called with the size of each chunk."""

    def __init__(
        self, settings: Settings, producer: Producer | None, clock: Clock, by: str, *, rate: int, progress: Callable[[int], None]
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._clock = clock
        self._by = by
        self._rate = rate
        self._progress = progress

    async def replay(self, warehouse: Warehouse, ids: Sequence[str], decider: ReplayDecider, edits: RecordEdits) -> ReplayResult:
        """Send records again; without a producer only decide. A refused record stays as it is.

        A record that is sent twice changes nothing, because its event has the same id. Raises Transient, after which the
        replay must be run again.
        """
        result = ReplayResult()
        for start in range(0, len(ids), CHUNK):
            entries = await read_entries(warehouse, ids[start : start + CHUNK])
            records: list[Outgoing] = []
            sent: list[QuarantineEntry] = []
            for entry in entries:
                decided = _decide(decider, entry, edits)
                if isinstance(decided, ReplayRefusal):
                    result.refused.append((entry.id, decided.reason))
                else:
                    records += decided
                    sent.append(entry)
            await self._send(records, [self._settlement(entry, "replayed", "") for entry in sent], len(entries))
            result.sent += len(sent)
        return result

    async def discard(self, warehouse: Warehouse, ids: Sequence[str], because: str) -> int:
        """Mark records as discarded and return how many; they stay in quarantine. Raises Transient."""
        for start in range(0, len(ids), PAGE):
            entries = await read_entries(warehouse, ids[start : start + PAGE])
            await self._send([], [self._settlement(entry, "discarded", because) for entry in entries], len(entries))
        return len(ids)

    async def _send(self, records: Sequence[Outgoing], settled: Sequence[Outgoing], count: int) -> None:
        if self._producer is not None:
            if records:
                await self._producer.send(records)
            if settled:
                await self._producer.send(settled)
            await asyncio.sleep(count / self._rate)
        self._progress(count)

    def _settlement(self, entry: QuarantineEntry, action: Settlement, because: str) -> Outgoing:
        record = QuarantineRecord(
            id=entry.id, stage=entry.stage, reason=entry.reason, detail="", source=entry.source, topic=entry.topic,
            partition=entry.partition, offset=entry.offset, raw="", at_ms=self._clock.now_ms(), counted=entry.counted,
            settled=action, by=self._by, because=because,
        )  # fmt: skip
        return Outgoing(self._settings.topic("quarantine"), encode(record))


def _decide(decider: ReplayDecider, entry: QuarantineEntry, edits: RecordEdits) -> list[Outgoing] | ReplayRefusal:
    try:
        return decider.records(entry, edits.apply(entry.raw))
    except Invalid as error:
        return ReplayRefusal(str(error))
