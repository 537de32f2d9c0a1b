"""The sources that are defined now, followed on the topic of definitions."""

import asyncio
from typing import Final

from runtime.bus.port import Bus, Consumer, Record
from runtime.errors import Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from segments.definitions import BadDefinition, Source, decode, key_hash, source_for_key

KIND: Final = "Source/"
POLL_MS: Final = 500
MAX_RECORDS: Final = 500
QUIET_POLLS: Final = 2
RETRY_S: Final = 1.0
CACHED_KEYS: Final = 1024

log: Final = get_logger(__name__)


class Sources:
    """Answers whose write key it is. `caught_up` is set once what was defined at the start is known."""

    def __init__(self) -> None:
        self._held: dict[str, Source] = {}
        self._known: dict[str, str] = {}
        self.caught_up = asyncio.Event()

    def become(self, held: dict[str, Source]) -> None:
        """Hold these and no others, by their key on the topic."""
        self._held, self._known = dict(held), {}
        self.caught_up.set()

    def name_of(self, write_key: str) -> str | None:
        """The name of the source with this write key. Only right keys are cached, by their hash."""
        hashed = key_hash(write_key)
        if (name := self._known.get(hashed)) is not None:
            return name
        source = source_for_key(list(self._held.values()), write_key)
        if source is None:
            return None
        if len(self._known) < CACHED_KEYS:
            self._known[hashed] = source.metadata.name
        return source.metadata.name


class SourcesFollower:
    """Keeps `Sources` true to the topic."""

    def __init__(self, settings: Settings, bus: Bus, sources: Sources) -> None:
        self._topic, self._bus, self._sources = settings.topic("definitions"), bus, sources

    async def run(self) -> None:
        """Follow for ever. Raises Permanent when the topic does not exist."""
        while True:
            try:
                reader = await self._bus.reader([self._topic])
                try:
                    await self._read(reader)
                finally:
                    await reader.aclose()
            except Transient as error:
                log.warning("definitions_wait", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _read(self, reader: Consumer) -> None:
        """Nothing is shown before the end is reached: of a source with many versions only the last counts, old keys are void."""
        end = (await self._bus.end_offsets(self._topic)).get(0, 0)
        held: dict[str, Source] = {}
        reached = quiet = 0
        complete = False
        while True:
            if not complete and (reached >= end or quiet >= QUIET_POLLS):
                # Compaction may have taken the last record, so silence of a broker that answers is an end too.
                await self._bus.ping()
                self._sources.become(held)
                complete = True
            polled = [record for found in (await reader.poll(POLL_MS, MAX_RECORDS)).values() for record in found]
            quiet = 0 if polled else quiet + 1
            changed = [record for record in polled if _take(record, held)]
            reached = max((record.offset + 1 for record in polled), default=reached)
            if changed and complete:
                self._sources.become(held)


def _take(record: Record, held: dict[str, Source]) -> bool:
    """Take a record into `held`; whether it changed anything. One that cannot be used is logged and changes nothing."""
    key = (record.key or b"").decode(errors="replace")
    if not key.startswith(KIND):
        return False
    if record.value is None:
        return held.pop(key, None) is not None
    try:
        source = decode(record.value, key)
    except BadDefinition as error:
        log.warning("definition_skipped", offset=record.offset, reason=str(error))
        return False
    if not isinstance(source, Source):
        return False
    held[key] = source
    return True
