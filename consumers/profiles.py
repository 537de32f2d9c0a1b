"""`profiles` → `profile_store`."""

from typing import Final

from consumers.batch import feed
from profile_store.warehouse import rows
from profile_store.warehouse.tables import PROFILES
from schemas.records import Profile

FEED: Final = feed("profiles", Profile, {PROFILES: rows.profile})
