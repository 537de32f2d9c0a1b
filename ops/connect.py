"""How a command finds the Onefold that it is about."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from embedded.attach import settings_for
from profile_store.connect import open_store
from profile_store.port import ProfileStore
from warehouse.client import HISTORY_SECONDS, Warehouse
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.lifecycle import load_settings
from runtime.settings import Settings

DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="ONEFOLD_DATA_DIR", help="directory of the embedded stack; unused with ONEFOLD_MODE=server"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
DEFAULT_DIR: Final = Path(".onefold")


@dataclass(frozen=True, slots=True)
class Reached:
    """Settings, broker and warehouse of the Onefold that was found."""

    settings: Settings
    bus: Bus
    warehouse: Warehouse


def find(data_dir: Path) -> Settings:
    """Settings of the stack that runs in `data_dir`, or with ONEFOLD_MODE=server those of the environment.

    Raises Misconfigured when nothing runs there, or a variable is wrong.
    """
    return load_settings() if os.environ.get("ONEFOLD_MODE") == "server" else settings_for(data_dir)


@asynccontextmanager
async def reached(data_dir: Path) -> AsyncIterator[Reached]:
    """Broker and warehouse, connected; closed on the way out."""
    settings = find(data_dir)
    warehouse = await Warehouse.connect(settings, answer_s=HISTORY_SECONDS)
    try:
        async with KafkaBus(settings) as bus:
            yield Reached(settings, bus, warehouse)
    finally:
        await warehouse.aclose()


@asynccontextmanager
async def reached_with_store(data_dir: Path) -> AsyncIterator[tuple[Reached, ProfileStore]]:
    """The same, and the profile store."""
    async with reached(data_dir) as here:
        store = open_store(here.settings, SystemClock())
        try:
            yield here, store
        finally:
            await store.aclose()
