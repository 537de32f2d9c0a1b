"""`quarantine` → `quarantine` and `settlements`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import QuarantineRecord
from warehouse import rows
from warehouse.tables import QUARANTINE, SETTLEMENTS

FEED: Final = build_feed("quarantine", QuarantineRecord, {QUARANTINE: rows.quarantine_rows, SETTLEMENTS: rows.settlement_rows})
