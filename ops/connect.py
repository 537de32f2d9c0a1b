"""Finding and connecting the Onefold that a command works on."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.attach import settings_of_running
from profile_store.connect import open_store
from profile_store.port import ProfileStore
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.settings import Settings
from runtime.variables import check_environment, read_settings
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import HISTORY_READ_TIMEOUT_S, Warehouse


@dataclass(frozen=True, slots=True)
class Connection:
    """The settings, the broker and the warehouse of the Onefold that a command works on."""

    settings: Settings
    bus: Bus
    warehouse: Warehouse


def find_settings(data_dir: Path) -> Settings:
    """Return the settings of the stack that runs in `data_dir`, or with ONEFOLD_MODE=server those of the environment.

    Raises Misconfigured when no stack runs there, or a variable is wrong.
    """
    check_environment()
    return read_settings() if os.environ.get("ONEFOLD_MODE") == "server" else settings_of_running(data_dir)


@asynccontextmanager
async def connect(data_dir: Path) -> AsyncIterator[Connection]:
    """Connect to broker and warehouse, and close the connections at the end."""
    settings = find_settings(data_dir)
    warehouse = await Warehouse.connect(settings, read_timeout_s=HISTORY_READ_TIMEOUT_S)
    try:
        async with KafkaBus(settings, read_adopted=AdoptedLogTable(warehouse).adopted_log) as bus:
            yield Connection(settings, bus, warehouse)
    finally:
        await warehouse.aclose()


@asynccontextmanager
async def connect_with_store(data_dir: Path) -> AsyncIterator[tuple[Connection, ProfileStore]]:
    """Connect to broker, warehouse and profile store, and close the connections at the end."""
    async with connect(data_dir) as connection:
        store = open_store(connection.settings, SystemClock())
        try:
            yield connection, store
        finally:
            await store.aclose()
