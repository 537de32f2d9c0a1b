"""`memberships` → `transitions`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import Transition
from warehouse import rows
from warehouse.tables import TRANSITIONS

FEED: Final = build_feed("memberships", Transition, {TRANSITIONS: rows.transition_rows})
