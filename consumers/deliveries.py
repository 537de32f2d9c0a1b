"""`deliveries` → `deliveries`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import DELIVERIES
from schemas.records import Delivery

FEED: Final = feed("deliveries", Delivery, {DELIVERIES: rows.delivery})
