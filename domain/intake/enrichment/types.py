"""Types that the parts of enrichment share."""

from collections.abc import Callable, Mapping
from typing import Any

UserAgentDetails = dict[str, dict[str, str]]
"""From `browser`, `os` or `device` to its fields."""
GeoRecordLookup = Callable[[str], Mapping[str, Any] | None]
"""Returns the GeoIP record of an IP address, None if there is none. It raises for no text."""
GeoLocation = dict[str, str | float]
GeoLocator = Callable[[str], GeoLocation]
"""Returns the location of an IP address; empty when it is unknown."""
