"""`deliveries` → `deliveries`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import Delivery
from warehouse import rows
from warehouse.tables import DELIVERIES

FEED: Final = build_feed("deliveries", Delivery, {DELIVERIES: rows.delivery_rows})
