"""What a user agent's text says: browser, system, device, and whether it is a program that no person looks through."""

from functools import lru_cache
from typing import Final

import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from ua_parser import Device, parse

from domain.intake.enrichment.types import Facts

MAX_CHARS: Final = 1024
"""How much of a text is looked at: real ones are shorter, and the price of what is sent must not be the client's to set."""
CACHED: Final = 8_192
_HTTP_LIBRARY: Final = "http-library"


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False
    return options


def _pattern() -> str:
    """All patterns of the list but those of HTTP libraries: apps name theirs as the user agent of the person who holds them."""
    listed = (entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA if _HTTP_LIBRARY not in entry.get("tags", ()))
    return "|".join(f"(?:{pattern})" for pattern in listed)


_BOTS: Final = re2.compile(_pattern(), _options())
_FOR_SOMEBODY: Final = ("GoogleImageProxy", "YahooMailProxy")
"""Fetchers that the list has, but that work for a person who has just opened a mail."""
_SPIDER: Final = "Spider"


def described(text: str) -> Facts:
    """`browser`, `os` and `device`, each with what is known of name, version, brand and model; empty when nothing is."""
    return _described(text[:MAX_CHARS])


def is_bot(text: str) -> bool:
    """Whether the text is that of a crawler, a monitor, a preview or a browser driven by a program."""
    return _is_bot(text[:MAX_CHARS])


@lru_cache(maxsize=CACHED)
def _described(text: str) -> Facts:
    found = parse(text)
    facts: Facts = {}
    if (browser := found.user_agent) is not None:
        facts["browser"] = _named(browser.family, (browser.major, browser.minor, browser.patch))
    if (system := found.os) is not None:
        facts["os"] = _named(system.family, (system.major, system.minor, system.patch))
    if (device := found.device) is not None and device.family not in (_SPIDER, "Other"):
        facts["device"] = _device(device)
    return facts


@lru_cache(maxsize=CACHED)
def _is_bot(text: str) -> bool:
    return _BOTS.search(text) is not None and not any(name in text for name in _FOR_SOMEBODY)


def _named(name: str, version: tuple[str | None, ...]) -> dict[str, str]:
    numbers = ".".join(part for part in version if part)
    return {"name": name, "version": numbers} if numbers else {"name": name}


def _device(device: Device) -> dict[str, str]:
    known = {"name": device.family, "brand": device.brand, "model": device.model}
    return {field: value for field, value in known.items() if value}
