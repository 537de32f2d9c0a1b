"""`links` → `links`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import LINKS
from schemas.records import Link

FEED: Final = feed("links", Link, {LINKS: rows.link})
