"""`links` → `evidence_store` and `decision_store`. What is to be looked at again leaves no row."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import DECISIONS, EVIDENCE
from schemas.records import LinkRecord

FEED: Final = feed("links", LinkRecord, {EVIDENCE: rows.link, DECISIONS: rows.decided})
