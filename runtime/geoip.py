"""The database of places that ONEFOLD_GEOIP_FILE names, in MaxMind's file format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import maxminddb

from runtime.errors import Misconfigured


def open_locator(path: Path | None) -> Callable[[str], Mapping[str, Any] | None] | None:
    """Looks an IP address up: its record, None when there is none or the text is no address. None without a file.

    The file is read into memory once, so that it may be replaced; a new one counts from the next start. Raises Misconfigured when
    it is missing or no such database.
    """
    if path is None:
        return None
    try:
        reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise Misconfigured(
            "ONEFOLD_GEOIP_FILE is no readable database in MaxMind's format: correct the path, or unset it"
        ) from error

    def lookup(address: str) -> Mapping[str, Any] | None:
        try:
            location = reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None
        return location if isinstance(location, dict) else None

    return lookup
