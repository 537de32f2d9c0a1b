"""`identities` → `labels` and `identity_store`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import Identity
from warehouse import rows
from warehouse.tables import IDENTITIES, LABELS

FEED: Final = build_feed("identities", Identity, {LABELS: rows.label_rows, IDENTITIES: rows.identity_rows})
