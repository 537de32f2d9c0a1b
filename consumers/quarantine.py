"""`quarantine` → `quarantine` and `settlements`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import QUARANTINE, SETTLEMENTS
from schemas.records import Quarantined

FEED: Final = feed("quarantine", Quarantined, {QUARANTINE: rows.quarantine, SETTLEMENTS: rows.settlement})
