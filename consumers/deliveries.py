"""`deliveries` → `deliveries`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import DELIVERIES
from schemas.records import Delivery

FEED: Final = feed("deliveries", Delivery, {DELIVERIES: rows.delivery})
