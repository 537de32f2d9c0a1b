"""`profiles` → `profile_store`."""

from typing import Final

from consumers.batch import build_feed
from schemas.records import Profile
from warehouse import rows
from warehouse.tables import PROFILES

FEED: Final = build_feed("profiles", Profile, {PROFILES: rows.profile_rows})
