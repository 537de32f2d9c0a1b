"""The feed of `events` into `event_store` and `ledger`."""

from collections.abc import Sequence
from typing import Final

from consumers.batch import Feed
from runtime.bus.port import Record
from runtime.settings import Settings
from warehouse.batches import WarehouseBatch
from warehouse.event_batches import event_batch


def decide(records: Sequence[Record], _settings: Settings, _now_ms: int) -> WarehouseBatch:
    """Build the rows of a batch."""
    return event_batch(records)


EVENTS_FEED: Final = Feed("events", decide)
