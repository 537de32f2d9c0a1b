"""`groups` → `account_trait_store` and `contribution_store`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import GroupRecord
from warehouse import rows
from warehouse.tables import ACCOUNT_TRAITS, CONTRIBUTIONS

FEED: Final = build_feed("groups", GroupRecord, {ACCOUNT_TRAITS: rows.account_trait_rows, CONTRIBUTIONS: rows.contribution_rows})
