"""Connecting the services about segments to the Onefold that a command works on, with its live definitions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.sql.compile import membership_query
from ops import definitions_topic
from ops.connect import connect_with_store, find_settings
from ops.segments.service import SegmentService
from ops.segments.verifier import SegmentVerifier
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.lazy_connection import LazyConnection
from warehouse.client import HISTORY_READ_TIMEOUT_S, Warehouse


@asynccontextmanager
async def open_segment_service(data_dir: Path) -> AsyncIterator[SegmentService]:
    """Open the segment service; ClickHouse is connected when it is needed."""
    settings, clock = find_settings(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = LazyConnection(lambda: Warehouse.connect(settings, read_timeout_s=HISTORY_READ_TIMEOUT_S), clock)
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus:
            live_definitions = await definitions_topic.read_live(settings, bus)
        plan, rules = segment_plan_of(live_definitions.values()), definitions_topic.identity_rules_of(settings, live_definitions)
        yield SegmentService(
            settings=settings, store=store, clock=clock, plan=lambda: plan, rules=lambda: rules, warehouse=warehouse.get
        )
    finally:
        await warehouse.aclose()
        await store.aclose()


@asynccontextmanager
async def open_segment_verifier(data_dir: Path) -> AsyncIterator[SegmentVerifier]:
    """Open the verifier, with all stores connected."""
    async with connect_with_store(data_dir) as (connection, store):
        live_definitions = await definitions_topic.read_live(connection.settings, connection.bus)
        plan, rules = (
            segment_plan_of(live_definitions.values()),
            definitions_topic.identity_rules_of(connection.settings, live_definitions),
        )

        async def warehouse() -> Warehouse:
            return connection.warehouse

        yield SegmentVerifier(
            settings=connection.settings,
            store=store,
            warehouse=warehouse,
            bus=connection.bus,
            clock=SystemClock(),
            plan=lambda: plan,
            rules=lambda: rules,
            membership_query=membership_query,
        )
