"""The feed of `definitions` into `definition_store`: from there they are written to a new log when Kafka's disk was lost."""

from collections.abc import Sequence
from typing import Final

from consumers.batch import Feed
from runtime.bus.port import Record
from runtime.settings import Settings
from warehouse import rows
from warehouse.batches import WarehouseBatch
from warehouse.tables import DEFINITIONS


def decide(records: Sequence[Record], _settings: Settings, _now_ms: int) -> WarehouseBatch:
    """Build the rows of a batch. Records that cannot be read are named by the processes that follow the topic, not quarantined."""
    batch = WarehouseBatch.of((DEFINITIONS,))
    for record in records:
        batch.add(DEFINITIONS, record, rows.definition_rows(record))
    return batch


DEFINITIONS_FEED: Final = Feed("definitions", decide)
