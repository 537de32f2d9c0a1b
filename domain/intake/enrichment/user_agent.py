"""What a user agent tells: browser, operating system, device, and whether it is a bot. Pure."""

from typing import Final

import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from ua_parser import Device, parse

from domain.intake.enrichment.types import UserAgentDetails
from domain.re2_options import re2_options
from domain.text_caches import cached_texts

MAX_CHARS: Final = 1024
"""How much of a text is parsed. Real ones are shorter, and a client must not decide how long parsing takes."""
_HTTP_LIBRARY: Final = "http-library"
_BOT_PATTERN_MEMORY_BYTES: Final = 64 << 20
"""The patterns of all bots are one expression of more than a thousand alternatives."""


def _bot_pattern() -> str:
    """Return all patterns of the list but those of HTTP libraries, because apps that people use send the name of their library."""
    listed = (entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA if _HTTP_LIBRARY not in entry.get("tags", ()))
    return "|".join(f"(?:{pattern})" for pattern in listed)


_BOT_PATTERN: Final = re2.compile(_bot_pattern(), re2_options(_BOT_PATTERN_MEMORY_BYTES))
_PERSONAL_FETCHERS: Final = ("GoogleImageProxy", "YahooMailProxy")
"""Fetchers that the list calls bots, but that load an image for a person who has just opened a mail."""
_SPIDER: Final = "Spider"


def describe(text: str) -> UserAgentDetails:
    """Return `browser`, `os` and `device`, each with its known fields of name, version, brand and model; empty if none is known."""
    return _describe_cached(text[:MAX_CHARS])


def is_bot(text: str) -> bool:
    """Return whether the text is that of a crawler, a monitor, a preview or a browser driven by a program."""
    return _is_bot_cached(text[:MAX_CHARS])


@cached_texts("user agents")
def _describe_cached(text: str) -> UserAgentDetails:
    parsed = parse(text)
    details: UserAgentDetails = {}
    if (browser := parsed.user_agent) is not None:
        details["browser"] = _name_and_version(browser.family, (browser.major, browser.minor, browser.patch))
    if (system := parsed.os) is not None:
        details["os"] = _name_and_version(system.family, (system.major, system.minor, system.patch))
    if (device := parsed.device) is not None and device.family not in (_SPIDER, "Other"):
        details["device"] = _device_details(device)
    return details


@cached_texts("bots")
def _is_bot_cached(text: str) -> bool:
    return _BOT_PATTERN.search(text) is not None and not any(name in text for name in _PERSONAL_FETCHERS)


def _name_and_version(name: str, version: tuple[str | None, ...]) -> dict[str, str]:
    numbers = ".".join(part for part in version if part)
    return {"name": name, "version": numbers} if numbers else {"name": name}


def _device_details(device: Device) -> dict[str, str]:
    fields = {"name": device.family, "brand": device.brand, "model": device.model}
    return {field: value for field, value in fields.items() if value}
