"""The sources and their tracking plans that are defined now, followed on the topic of definitions."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from runtime.bus.follow import follow
from runtime.bus.port import Bus, Record
from runtime.logs import get_logger
from runtime.settings import Settings
from domain.definitions.kinds import (AnyDefinition, BadDefinition, Source, TrackingPlan, decode, key_hash, keys_of, source_for_key)

KIND: Final = "Source/"
PLAN: Final = "TrackingPlan/"
CACHED_KEYS: Final = 1024
Told = Callable[[Iterable[AnyDefinition]], None]
"""Hears of the definitions that hold."""

log: Final = get_logger(__name__)


class Sources:
    """Answers whose write key it is. `caught_up` is set once what was defined at the start is known."""

    def __init__(self) -> None:
        self._held: dict[str, Source] = {}
        self._known: dict[str, Source] = {}
        self._origins: frozenset[str] = frozenset()
        self._plans: tuple[TrackingPlan, ...] = ()
        self._told: Told | None = None
        self.caught_up = asyncio.Event()

    def tell(self, told: Told) -> None:
        """Call `told` with sources and tracking plans now, and whenever they change."""
        self._told = told
        told((*self._held.values(), *self._plans))

    def become(self, held: dict[str, Source], plans: Iterable[TrackingPlan] = ()) -> None:
        """Hold these and no others, by their key on the topic."""
        self._held, self._known, self._plans = dict(held), {}, tuple(plans)
        if self._told is not None:
            self.tell(self._told)
        self._origins = frozenset(origin for source in held.values() for origin in source.spec.cors_origins)
        self.caught_up.set()

    def find(self, write_key: str, now_ms: int) -> Source | None:
        """The source with this write key now. Only right keys without an end are cached, by their hash."""
        hashed = key_hash(write_key)
        if (known := self._known.get(hashed)) is not None:
            return known
        source = source_for_key(list(self._held.values()), write_key, now_ms)
        if source is not None and len(self._known) < CACHED_KEYS and (hashed, None) in keys_of(source.spec):
            self._known[hashed] = source
        return source

    def origins(self) -> frozenset[str]:
        """Origins that some source lists as its own: a browser asks before it says who it is."""
        return self._origins

    def named(self, name: str) -> Source | None:
        """The source of this name."""
        return self._held.get(f"{KIND}{name}")

    def names(self) -> frozenset[str]:
        """Of all sources."""
        return frozenset(source.metadata.name for source in self._held.values())


async def follow_sources(settings: Settings, bus: Bus, sources: Sources) -> None:
    """Keep `sources` true to the topic, for ever. Raises Permanent when the topic does not exist."""
    held: dict[str, AnyDefinition] = {}

    async def show() -> None:
        plans = [definition for definition in held.values() if isinstance(definition, TrackingPlan)]
        sources.become({key: definition for key, definition in held.items() if isinstance(definition, Source)}, plans)

    await follow(bus, settings.topic("definitions"), lambda record: _take(record, held), show)


def _take(record: Record, held: dict[str, AnyDefinition]) -> None:
    """Take a record into `held`. One that cannot be used is logged and changes nothing."""
    key = (record.key or b"").decode(errors="replace")
    if not key.startswith((KIND, PLAN)):
        return
    if record.value is None:
        held.pop(key, None)
        return
    try:
        definition = decode(record.value, key)
    except BadDefinition as error:
        log.warning("definition_skipped", offset=record.offset, reason=str(error))
        return
    if definition.key == key:
        held[key] = definition
