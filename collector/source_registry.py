"""The sources, tracking plans and namespaces in force, as this process has read them from the topic of definitions."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from domain.definitions.kinds import (
    AnyDefinition,
    Source,
    TrackingPlan,
    key_hash,
    source_for_key,
    write_keys_of,
)
from domain.definitions.live import LiveDefinitions, ShowBadRecords, ignore_count
from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from runtime.bus.follow import TopicFollower
from runtime.bus.port import Bus
from runtime.logs import get_logger
from runtime.settings import Settings

SOURCE_PREFIX: Final = "Source/"
PLAN_PREFIX: Final = "TrackingPlan/"
RULES_PREFIX: Final = "IdentityRules/"
MAX_CACHED_KEYS: Final = 1024
DefinitionsListener = Callable[[Iterable[AnyDefinition]], None]
"""Called with the sources and tracking plans in force."""

log: Final = get_logger(__name__)


class Sources:
    """Finds the source of a write key. `namespaces` are those that identifiers may have.

    `caught_up` is set once the definitions that existed at the start were read. `has_unreadable` says that the record of a source
    cannot be read: then a write key that no source has may be right.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, Source] = {}
        self._cached_by_hash: dict[str, Source] = {}
        self._origins: frozenset[str] = frozenset()
        self._plans: tuple[TrackingPlan, ...] = ()
        self._listener: DefinitionsListener | None = None
        self.namespaces = SHIPPED_NAMESPACES
        self.has_unreadable = False
        self.caught_up = asyncio.Event()

    def subscribe(self, listener: DefinitionsListener) -> None:
        """Call `listener` with sources and tracking plans now, and whenever they change."""
        self._listener = listener
        listener((*self._by_key.values(), *self._plans))

    def replace_all(
        self, sources: dict[str, Source], plans: Iterable[TrackingPlan] = (), namespaces: Namespaces = SHIPPED_NAMESPACES
    ) -> None:
        """Use these sources, by their key on the topic, plans and namespaces from now on, and call the listener."""
        self.namespaces = namespaces
        self._by_key = dict(sources)
        self._cached_by_hash = {}  # a cached key may belong to a source that is gone
        self._plans = tuple(plans)
        if self._listener is not None:
            self.subscribe(self._listener)
        self._origins = frozenset(origin for source in sources.values() for origin in source.spec.cors_origins)
        self.caught_up.set()

    def find(self, write_key: str, now_ms: int) -> Source | None:
        """Return the source whose write key is valid at `now_ms`, None without one.

        The search compares every hash in constant time, so its results are cached by hash. Keys that expire are not cached, nor are
        wrong keys, because clients can make up any number of them.
        """
        hashed_key = key_hash(write_key)
        if (cached_source := self._cached_by_hash.get(hashed_key)) is not None:
            return cached_source
        source = source_for_key(list(self._by_key.values()), write_key, now_ms)
        if source is not None and len(self._cached_by_hash) < MAX_CACHED_KEYS and (hashed_key, None) in write_keys_of(source.spec):
            self._cached_by_hash[hashed_key] = source
        return source

    def origins(self) -> frozenset[str]:
        """Return the origins that any source lists. A preflight request needs them: it names no source."""
        return self._origins

    def by_name(self, name: str) -> Source | None:
        """Return the source of this name, None without one."""
        return self._by_key.get(f"{SOURCE_PREFIX}{name}")


async def follow_sources(settings: Settings, bus: Bus, sources: Sources, show_bad_records: ShowBadRecords = ignore_count) -> None:
    """Keep `sources` equal to the definitions topic until cancelled. Raises Permanent when the topic does not exist."""
    definitions = LiveDefinitions(
        prefixes=(SOURCE_PREFIX, PLAN_PREFIX, RULES_PREFIX),
        report_bad=lambda record: log.warning("definition_skipped", offset=record.offset, key=record.key, reason=record.reason),
    )

    async def replace_sources() -> None:
        show_bad_records(len(definitions.bad_records))
        plans, namespaces = definitions.of_kind(TrackingPlan), definitions.namespaces
        sources.has_unreadable = any(record.key.startswith(SOURCE_PREFIX) for record in definitions.bad_records)
        sources.replace_all({source.key: source for source in definitions.sources}, plans, namespaces)

    await TopicFollower(bus, settings.topic("definitions"), definitions, replace_sources).run()
