"""`memberships` → `transitions`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import TRANSITIONS
from schemas.records import Transition

FEED: Final = feed("memberships", Transition, {TRANSITIONS: rows.transition})
