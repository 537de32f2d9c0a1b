"""The feed of `events` into `event_store` and `ledger`.

Every record gets a row in the ledger, whether it can be decoded or not: that is how each accepted event is accounted for.
"""

from collections.abc import Sequence
from typing import Final

from consumers.batch import Feed, WarehouseBatch
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode
from schemas.events import Event
from warehouse import rows
from warehouse.rows import TableRow
from warehouse.tables import EVENT_STORE, LEDGER


def decide(records: Sequence[Record], _settings: Settings, _now_ms: int) -> WarehouseBatch:
    """Build the rows of a batch. An undecodable record gets a ledger row alone: the unify agent reads and quarantines it too."""
    events: list[TableRow] = []
    ledger: list[TableRow] = []
    for record in records:
        try:
            event = decode(Event, record.value)
        except Undecodable as error:
            ledger.append(rows.quarantined_ledger_row(record, error))
            continue
        events.append(rows.event_row(record, event))
        ledger.append(rows.stored_ledger_row(record, event))
    return WarehouseBatch({EVENT_STORE: events, LEDGER: ledger})


EVENTS_FEED: Final = Feed("events", decide)
