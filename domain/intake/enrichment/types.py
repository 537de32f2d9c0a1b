"""Words that the parts of enrichment share."""

from collections.abc import Callable, Mapping
from typing import Any

Facts = dict[str, dict[str, str]]
"""Name of a thing → what is known of it."""
RecordOf = Callable[[str], Mapping[str, Any] | None]
"""An IP address's record in a database of places, None without one. Raises nothing, whatever the text."""
Place = dict[str, str | float]
Locate = Callable[[str], Place]
"""Where an IP address is; empty when that is not known."""
