"""`profiles` → `profile_store`."""

from typing import Final

from consumers.batch import feed
from warehouse import rows
from warehouse.tables import PROFILES
from schemas.records import Profile

FEED: Final = feed("profiles", Profile, {PROFILES: rows.profile})
