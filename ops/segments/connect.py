"""What a question about segments is asked of: the stores of the Onefold that a command is about, and its live definitions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ops import definitions_topic as definitions
from runtime.lazy_connection import Lazy
from ops.connect import find, reached_with_store
from ops.segments.verifier import Verifier
from ops.segments.service import Asked
from ops.rebuild.profile_state import rules_of
from profile_store.connect import open_store
from warehouse.client import HISTORY_SECONDS, Warehouse
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from domain.segments.plan import Plan
from domain.segments.sql import membership


@asynccontextmanager
async def asking(data_dir: Path) -> AsyncIterator[Asked]:
    """With the definitions that are live now. ClickHouse is reached when it is needed."""
    settings, clock = find(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = Lazy(lambda: Warehouse.connect(settings, answer_s=HISTORY_SECONDS), clock)
    try:
        async with KafkaBus(settings) as bus:
            known = await definitions.live(settings, bus)
        plan, rules = Plan(known.values()), rules_of(settings, known)
        yield Asked(settings, store, clock, lambda: plan, lambda: rules, warehouse.get)
    finally:
        await warehouse.aclose()
        await store.aclose()


@asynccontextmanager
async def verifying(data_dir: Path) -> AsyncIterator[Verifier]:
    """The same for whoever compares stream and SQL."""
    async with reached_with_store(data_dir) as (here, store):
        known = await definitions.live(here.settings, here.bus)
        plan, rules = Plan(known.values()), rules_of(here.settings, known)

        async def warehouse() -> Warehouse:
            return here.warehouse

        yield Verifier(here.settings, store, warehouse, here.bus, SystemClock(), lambda: plan, lambda: rules, membership)
