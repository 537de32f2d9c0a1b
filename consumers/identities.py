"""`identities` → `labels` and `identity_store`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import IDENTITIES, LABELS
from schemas.records import Identity

FEED: Final = feed("identities", Identity, {LABELS: rows.labels, IDENTITIES: rows.identity})
