"""The location of an IP address, read from a record in MaxMind's form. Databases differ, so missing fields are left out. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from domain.intake.enrichment.types import GeoLocation, GeoLocator, GeoRecordLookup

NAME_LANGUAGE: Final = "en"
CACHE_SIZE: Final = 8_192
MAX_ADDRESS_CHARS: Final = 45


def cached_locator(lookup: GeoRecordLookup) -> GeoLocator:
    """Return a locator over a database that caches its results: the same visitors come again and again."""

    @lru_cache(maxsize=CACHE_SIZE)
    def locate_cached(address: str) -> GeoLocation:
        geo_record = lookup(address)
        return {} if geo_record is None else geo_location(geo_record)

    return lambda address: locate_cached(address) if len(address) <= MAX_ADDRESS_CHARS else {}


def geo_location(record: Mapping[str, Any]) -> GeoLocation:
    """Return `country` (ISO 3166), `region` (ISO 3166-2), `city`, `latitude`, `longitude`, `timezone`, if the record has them."""
    location = _object_at(record, "location")
    country = _text_at(_object_at(record, "country"), "iso_code")
    region = _first_object(record.get("subdivisions"))
    fields: dict[str, str | float | None] = {
        "country": country,
        "region": f"{country}-{code}" if country and (code := _text_at(region, "iso_code")) else None,
        "city": _text_at(_object_at(_object_at(record, "city"), "names"), NAME_LANGUAGE),
        "latitude": _number_at(location, "latitude"),
        "longitude": _number_at(location, "longitude"),
        "timezone": _text_at(location, "time_zone"),
    }
    return {field: value for field, value in fields.items() if value is not None}


def _object_at(record: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = record.get(field)
    return value if isinstance(value, dict) else {}


def _first_object(value: Any) -> Mapping[str, Any]:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


def _text_at(record: Mapping[str, Any], field: str) -> str | None:
    value = record.get(field)
    return value if isinstance(value, str) and value else None


def _number_at(record: Mapping[str, Any], field: str) -> float | None:
    value = record.get(field)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
