"""`quarantine` → `quarantine` and `settlements`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import QUARANTINE, SETTLEMENTS
from schemas.records import Quarantined

FEED: Final = feed("quarantine", Quarantined, {QUARANTINE: rows.quarantine, SETTLEMENTS: rows.settlement})
