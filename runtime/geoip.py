"""The GeoIP database that ONEFOLD_GEOIP_FILE names, in MaxMind's file format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import maxminddb

from runtime.errors import Misconfigured


def open_locator(path: Path | None) -> Callable[[str], Mapping[str, Any] | None] | None:
    """Return a function that looks an IP address up; None when there is no file.

    The function returns the address's record, or None when there is none or the text is not an address. The file is read into
    memory once, so it may be replaced while the process runs; the new one is used from the next start. Raises Misconfigured when
    the file is missing or not such a database.
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
