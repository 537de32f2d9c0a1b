"""Connecting the services that apply definitions. ClickHouse is connected when history is needed: a new source needs none."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ops import definitions_topic
from ops.apply.backfill_history import BackfillHistory
from ops.connect import find_settings
from ops.definitions_topic import DefinitionsByKey
from profile_store.connect import open_store
from profile_store.port import ProfileStore
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import Clock, SystemClock
from runtime.lazy_connection import LazyConnection
from runtime.settings import Settings
from warehouse.client import HISTORY_READ_TIMEOUT_S, Warehouse


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """The connected parts that applying definitions needs."""

    settings: Settings
    bus: Bus
    store: ProfileStore
    history: BackfillHistory
    clock: Clock

    async def live_definitions(self, replaced: Collection[str] = ()) -> DefinitionsByKey:
        """Read the live definitions. Raises Invalid when the identity rules cannot be read and are not `replaced`, Transient."""
        return await definitions_topic.read_live(self.settings, self.bus, replaced=replaced)


@asynccontextmanager
async def open_apply_context(data_dir: Path) -> AsyncIterator[ApplyContext]:
    """Connect to the Onefold of `data_dir`, and close everything at the end."""
    settings, clock = find_settings(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = LazyConnection(lambda: Warehouse.connect(settings, read_timeout_s=HISTORY_READ_TIMEOUT_S), clock)
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus:
            yield ApplyContext(
                settings=settings, bus=bus, store=store, history=BackfillHistory(settings, bus, warehouse.get), clock=clock
            )
    finally:
        await warehouse.aclose()
        await store.aclose()
