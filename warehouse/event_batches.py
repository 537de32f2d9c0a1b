"""Turns records of `events` into rows of `event_store` and `ledger`. Pure.

Every record gets a row in the ledger, whether it can be decoded or not: that is how each accepted event is accounted for.
"""

from collections.abc import Iterable

from runtime.bus.port import Record
from schemas.codec import Undecodable, decode
from schemas.events import Event
from warehouse import rows
from warehouse.batches import WarehouseBatch
from warehouse.tables import EVENT_STORE, LEDGER


def event_batch(records: Iterable[Record]) -> WarehouseBatch:
    """Build the rows of a batch. An undecodable record gets a ledger row alone: the unify agent reads and quarantines it too."""
    batch = WarehouseBatch.of((EVENT_STORE, LEDGER))
    for record in records:
        try:
            event = decode(Event, record.value)
        except Undecodable as error:
            batch.add(LEDGER, record, [rows.quarantined_ledger_row(record, error.reason)])
            continue
        batch.add(EVENT_STORE, record, [rows.event_row(record, event)])
        batch.add(LEDGER, record, [rows.stored_ledger_row(record, event)])
    return batch
