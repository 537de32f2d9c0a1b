"""Sending records again, and giving them up: at a bounded rate, each settled in the open only once it is sent."""

import asyncio
import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ops import definitions_topic as definitions
from ops.quarantine.replay_decider import Again, Refused
from ops.quarantine.edits import Edits
from ops.quarantine.entries import PAGE, Entry, Wanted, listed, whole
from ops.connect import Reached
from warehouse.client import Warehouse
from runtime.bus.port import Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.geoip import locator
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Quarantined, Settled
from domain.intake.admission import Admission
from domain.definitions.kinds import Source

CHUNK: Final = 100
MOST: Final = 1_000_000


@dataclass(slots=True)
class Done:
    """How many records were sent again, and which were not, with the reason."""

    sent: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


async def again_of(here: Reached) -> Again:
    """The decisions of now, by the live definitions. Raises Transient."""
    live = await definitions.live(here.settings, here.bus)
    admission = Admission(locator(here.settings.geoip_file))
    admission.become(live.values())
    return Again(here.settings, [held for held in live.values() if isinstance(held, Source)], admission)


async def meant(warehouse: Warehouse, wanted: Wanted) -> list[str]:
    """The ids of all records that are wanted. Raises Invalid when an id that was named does not exist, or is settled."""
    found = [entry.id for entry in await listed(warehouse, wanted)]
    if wanted.ids and (missing := set(wanted.ids) - set(found)):
        raise Invalid(f"{len(missing)} of the ids name no open record: see `onefold quarantine list --state all`", path="id")
    return found


class Settler:
    """Works on records, a chunk at a time. `rate` is records a second; `progress` hears of every chunk."""

    def __init__(
        self, settings: Settings, producer: Producer | None, clock: Clock, by: str, *, rate: int, progress: Callable[[int], None]
    ) -> None:
        self._settings, self._producer, self._clock = settings, producer, clock
        self._by, self._rate, self._progress = by, rate, progress

    async def replay(self, warehouse: Warehouse, ids: Sequence[str], again: Again, edits: Edits) -> Done:
        """Send these again; without a producer only look. What is refused stays as it is. Raises Transient: say it again then.

        Sent twice, a record changes nothing: its event has the same id.
        """
        done = Done()
        for start in range(0, len(ids), CHUNK):
            part = await whole(warehouse, ids[start : start + CHUNK])
            records: list[Outgoing] = []
            sent: list[Entry] = []
            for entry in part:
                found = _mended(again, entry, edits)
                if isinstance(found, Refused):
                    done.refused.append((entry.id, found.why))
                else:
                    records += found
                    sent.append(entry)
            await self._send(records, [self._settled(entry, "replayed", "") for entry in sent], len(part))
            done.sent += len(sent)
        return done

    async def discard(self, warehouse: Warehouse, ids: Sequence[str], because: str) -> int:
        """Give these up; returns how many. They stay in quarantine, marked. Raises Transient."""
        for start in range(0, len(ids), PAGE):
            part = await whole(warehouse, ids[start : start + PAGE])
            await self._send([], [self._settled(entry, "discarded", because) for entry in part], len(part))
        return len(ids)

    async def _send(self, records: Sequence[Outgoing], settled: Sequence[Outgoing], count: int) -> None:
        if self._producer is not None:
            if records:
                await self._producer.send(records)
            if settled:
                await self._producer.send(settled)
            await asyncio.sleep(count / self._rate)
        self._progress(count)

    def _settled(self, entry: Entry, action: Settled, because: str) -> Outgoing:
        said = Quarantined(
            id=entry.id, stage=entry.stage, reason=entry.reason, detail="", source=entry.source, topic=entry.topic,
            partition=entry.partition, offset=entry.offset, raw="", at_ms=self._clock.now_ms(), counted=entry.counted,
            settled=action, by=self._by, because=because,
        )  # fmt: skip
        return Outgoing(self._settings.topic("quarantine"), encode(said))


def _mended(again: Again, entry: Entry, edits: Edits) -> list[Outgoing] | Refused:
    try:
        return again.records(entry, edits.apply(entry.raw))
    except Invalid as error:
        return Refused(str(error))


def operator() -> str:
    """Who runs this command, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
