"""`memberships` → `transitions`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import TRANSITIONS
from schemas.records import Transition

FEED: Final = feed("memberships", Transition, {TRANSITIONS: rows.transition})
