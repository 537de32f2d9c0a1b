"""`identities` → `labels` and `identity_store`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import IDENTITIES, LABELS
from schemas.records import Identity

FEED: Final = feed("identities", Identity, {LABELS: rows.labels, IDENTITIES: rows.identity})
