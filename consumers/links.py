"""`links` → `evidence_store` and `decision_store`. What is to be looked at again leaves no row."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import LinkRecord
from warehouse import rows
from warehouse.tables import DECISIONS, EVIDENCE

FEED: Final = build_feed("links", LinkRecord, {EVIDENCE: rows.evidence_rows, DECISIONS: rows.decision_rows})
