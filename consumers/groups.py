"""`groups` → `account_trait_store` and `contribution_store`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import ACCOUNT_TRAITS, CONTRIBUTIONS
from schemas.records import Grouped

FEED: Final = feed("groups", Grouped, {ACCOUNT_TRAITS: rows.account_traits, CONTRIBUTIONS: rows.contribution})
