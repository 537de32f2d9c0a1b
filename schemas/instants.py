"""Instants are whole milliseconds since 1970 in UTC; these are the constants that every part of the pipeline shares."""

from typing import Final

DAY_MS: Final = 86_400_000
NEVER: Final = 1 << 62
"""The instant that does not come. It is larger than every real one, so `min` over instants needs no case for None."""
