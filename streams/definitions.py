"""Definitions as this process knows them: read from their topic at the start, then followed."""

import asyncio
import logging
from typing import Final

from runtime.bus.port import Bus, Consumer, Record
from runtime.errors import Transient
from runtime.settings import Settings
from segments.definitions import BadDefinition, Destination, Segment, Source, decode
from segments.plan import CyclicSegments, Plan

log: Final = logging.getLogger(__name__)

POLL_MS: Final = 500
MAX_RECORDS: Final = 500
QUIET_POLLS: Final = 2
"""Compaction may have taken the last record of the topic, so the end counts as reached after this many empty polls too."""
RETRY_S: Final = 1.0


class Definitions:
    """The definitions that hold now. Readers take `plan` and `sources` anew for each slice."""

    def __init__(self) -> None:
        self._held: dict[str, Source | Segment | Destination] = {}
        self.plan = Plan(())
        self.sources: list[Source] = []

    def take(self, record: Record) -> None:
        """Take a record of the topic; one that cannot be used is logged and changes nothing."""
        key = (record.key or b"").decode(errors="replace")
        try:
            held = {name: definition for name, definition in self._held.items() if name != key}
            if record.value is not None:
                held[key] = decode(record.value, key)
            self.plan = Plan(definition for definition in held.values() if isinstance(definition, Segment))
            self.sources = [definition for definition in held.values() if isinstance(definition, Source)]
            self._held = held
        except (BadDefinition, CyclicSegments) as error:
            log.warning(
                "a definition cannot be used; what held before it holds on",
                extra={"action": "definition_skipped", "offset": record.offset, "reason": str(error)},
            )


class DefinitionsFollower:
    """Keeps a `Definitions` true to the topic."""

    def __init__(self, settings: Settings, bus: Bus, definitions: Definitions) -> None:
        self._topic, self._bus, self._definitions = settings.topic("definitions"), bus, definitions
        self._reader: Consumer | None = None

    async def catch_up(self) -> None:
        """Read to what is the end of the topic now; waits while the broker cannot be reached."""
        while True:
            try:
                ends = await self._bus.end_offsets(self._topic)
                self._reader = self._reader or await self._bus.reader([self._topic])
                return await self._read_to(sum(ends.values()), self._reader)
            except Transient as error:
                log.warning("definitions cannot be read yet", extra={"action": "definitions_wait"}, exc_info=error)
                await asyncio.sleep(RETRY_S)

    async def follow(self) -> None:
        """Take what comes, for ever. Call after `catch_up`."""
        while True:
            try:
                if self._reader is None:
                    self._reader = await self._bus.reader([self._topic])
                await self._take(self._reader)
            except Transient:
                await asyncio.sleep(RETRY_S)

    async def aclose(self) -> None:
        """Close the reader."""
        if self._reader is not None:
            await self._reader.aclose()

    async def _read_to(self, end: int, reader: Consumer) -> None:
        reached, quiet = 0, 0
        while reached < end and quiet < QUIET_POLLS:
            last = await self._take(reader)
            reached, quiet = max(reached, last + 1), 0 if last >= 0 else quiet + 1

    async def _take(self, reader: Consumer) -> int:
        """One poll; the last offset taken (the topic has one partition), -1 when none came."""
        last = -1
        for records in (await reader.poll(POLL_MS, MAX_RECORDS)).values():
            for record in records:
                self._definitions.take(record)
                last = record.offset
        return last
