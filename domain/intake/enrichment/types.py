"""Words that the parts of enrichment share."""

from collections.abc import Callable, Mapping
from typing import Any

UserAgentDetails = dict[str, dict[str, str]]
"""Name of a thing → what is known of it."""
GeoRecordLookup = Callable[[str], Mapping[str, Any] | None]
"""An IP address's record in a database of places, None without one. Raises nothing, whatever the text."""
GeoLocation = dict[str, str | float]
GeoLocator = Callable[[str], GeoLocation]
"""Where an IP address is; empty when that is not known."""
