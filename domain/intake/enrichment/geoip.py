"""Where an IP address is, out of a record in MaxMind's shape. Databases differ, so whatever is missing is left out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from domain.intake.enrichment.types import Locate, Place, RecordOf

NAME_LANGUAGE: Final = "en"
CACHED: Final = 8_192
MAX_ADDRESS_CHARS: Final = 45


def locating(record_of: RecordOf) -> Locate:
    """Places of addresses by a database, remembered: the same visitors come again and again."""

    @lru_cache(maxsize=CACHED)
    def located(address: str) -> Place:
        record = record_of(address)
        return {} if record is None else place(record)

    return lambda address: located(address) if len(address) <= MAX_ADDRESS_CHARS else {}


def place(record: Mapping[str, Any]) -> Place:
    """`country` (ISO 3166), `region` (ISO 3166-2), `city`, `latitude`, `longitude`, `timezone`, as far as they are known."""
    location = _inner(record, "location")
    country = _text(_inner(record, "country"), "iso_code")
    region = _first(record.get("subdivisions"))
    known: dict[str, str | float | None] = {
        "country": country,
        "region": f"{country}-{code}" if country and (code := _text(region, "iso_code")) else None,
        "city": _text(_inner(_inner(record, "city"), "names"), NAME_LANGUAGE),
        "latitude": _number(location, "latitude"),
        "longitude": _number(location, "longitude"),
        "timezone": _text(location, "time_zone"),
    }
    return {field: value for field, value in known.items() if value is not None}


def _inner(record: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = record.get(field)
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Mapping[str, Any]:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


def _text(record: Mapping[str, Any], field: str) -> str | None:
    value = record.get(field)
    return value if isinstance(value, str) and value else None


def _number(record: Mapping[str, Any], field: str) -> float | None:
    value = record.get(field)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
