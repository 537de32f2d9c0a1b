"""Refuses events while the disk of the stores is nearly full, so that whatever was acknowledged can still be stored.

A broker whose disk is full stops, and so do Redis and ClickHouse, some of them with half-written files. The collector is the place
where the stream of new bytes begins, and its clients keep what is answered 503. It therefore stops while there is still room for
what is under way, and goes on by itself.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Final

from runtime.metrics import Metrics
from runtime.settings import Settings

CHECK_INTERVAL_S: Final = 1.0
RESUME_FACTOR: Final = 1.1
"""Events are taken again at this multiple of the bound, because a disk that sways about the bound would turn answers on and off."""


class FreeSpace:
    """Whether there is room for more events, by the last measured number of free bytes.

    Worked example with a bound of 500 MB: at 480 MB events are refused, at 520 MB they still are, from 550 MB on they are taken.
    """

    def __init__(self, min_free_bytes: int) -> None:
        self._min_free_bytes = min_free_bytes
        self.free_bytes: int | None = None
        self.is_short = False

    def update(self, free_bytes: int) -> None:
        """Take a measurement into account."""
        self.free_bytes = free_bytes
        self.is_short = free_bytes < self._min_free_bytes * (RESUME_FACTOR if self.is_short else 1)

    def waits(self) -> tuple[str, ...]:
        """Return why no events are taken, with the cure; nothing while they are."""
        if not self.is_short or self.free_bytes is None:
            return ()
        reason = f"{self.free_bytes >> 20} MB are free on the disk of the stores, less than ONEFOLD_MIN_FREE_BYTES"
        return (f"the collector takes no events: {reason}; free space there, and it goes on by itself",)


async def watch_free_space(space: FreeSpace, settings: Settings, metrics: Metrics) -> None:
    """Measure the disk again and again, for ever. Return at once when the settings name no directory of the stores."""
    directory = settings.stores_dir if settings.mode == "server" else settings.data_dir
    if directory is None:
        return
    while True:
        # In a thread, because a network file system that is away would stop all requests.
        free_bytes = await asyncio.to_thread(_measure_free_bytes, directory)
        if free_bytes is not None:
            space.update(free_bytes)
            metrics.set_all("onefold_stores_free_bytes", {"collector": free_bytes})
        await asyncio.sleep(CHECK_INTERVAL_S)


def _measure_free_bytes(directory: Path) -> int | None:
    """Return the free bytes of the directory's disk; None when it cannot be asked, which is no reason to refuse events."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
