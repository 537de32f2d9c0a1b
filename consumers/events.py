"""`events` → `event_store` and `ledger`. Every record gets a ledger row, whatever becomes of it."""

from collections.abc import Sequence
from typing import Final

from consumers.batch import Batch, Feed
from warehouse import rows
from warehouse.rows import Row
from warehouse.tables import EVENT_STORE, LEDGER
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode
from schemas.events import Event


def decide(records: Sequence[Record], _settings: Settings, _now_ms: int) -> Batch:
    """A record that does not decode is put into quarantine by the unify agent, which reads it too; here it is only booked."""
    events: list[Row] = []
    ledger: list[Row] = []
    for record in records:
        try:
            said = decode(Event, record.value)
        except Undecodable as error:
            ledger.append(rows.quarantined(record, error))
            continue
        events.append(rows.event(record, said))
        ledger.append(rows.stored(record, said))
    return Batch({EVENT_STORE: events, LEDGER: ledger})


FEED: Final = Feed("events", decide)
