"""What a command about definitions reaches. ClickHouse is only asked when history is: a new source needs none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ops import definitions_topic as definitions
from ops.apply.backfill_history import History
from ops.definitions_topic import Documents
from runtime.lazy_connection import Lazy
from ops.connect import find
from profile_store.connect import open_store
from profile_store.port import ProfileStore
from warehouse.client import HISTORY_SECONDS, Warehouse
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import Clock, SystemClock
from runtime.errors import Invalid
from runtime.settings import Settings
from domain.definitions.kinds import BadDefinition


@dataclass(frozen=True, slots=True)
class Defining:
    """The parts."""

    settings: Settings
    bus: Bus
    store: ProfileStore
    history: History
    clock: Clock

    async def live(self) -> Documents:
        """The definitions that are live. Raises Invalid when one of them cannot be read."""
        try:
            return await definitions.live(self.settings, self.bus)
        except BadDefinition as error:
            raise Invalid(str(error), reason="bad_definition") from error


@asynccontextmanager
async def defining(data_dir: Path) -> AsyncIterator[Defining]:
    """The parts, closed on the way out."""
    settings, clock = find(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = Lazy(lambda: Warehouse.connect(settings, answer_s=HISTORY_SECONDS), clock)
    try:
        async with KafkaBus(settings) as bus:
            yield Defining(settings, bus, store, History(settings, bus, warehouse.get), clock)
    finally:
        await warehouse.aclose()
        await store.aclose()
