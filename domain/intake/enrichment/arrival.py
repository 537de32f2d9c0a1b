"""How a visitor came: the campaign of the page's address, and what kind of place the referrer is."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from domain.intake.enrichment.referrers import KINDS

MAX_URL_CHARS: Final = 4_096
"""Longer addresses are left alone: what is held in memory for the next event must not be the client's to set."""
MAX_VALUE_CHARS: Final = 512
MAX_FIELDS: Final = 200
CACHED: Final = 4_096
_UTM: Final = {
    "utm_campaign": "name", "utm_source": "source", "utm_medium": "medium", "utm_term": "term", "utm_content": "content",
    "utm_id": "id",
}  # fmt: skip
"""A parameter of the address → its name in Segment's `context.campaign`."""
_CLICKS: Final = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "msclkid": "microsoft", "fbclid": "facebook", "ttclid": "tiktok",
    "twclid": "x", "li_fat_id": "linkedin", "zarsrc": "zalo",
}  # fmt: skip
_SCHEMES: Final = ("http://", "https://", "android-app://")
_NATIONAL: Final = re.compile(r"(?:^|\.)(google|yahoo|yandex)\.(?:com?\.)?[a-z]{2}$")


def campaign(url: str) -> dict[str, str]:
    """`name`, `source`, `medium`, `term`, `content`, `id` of a page's address as far as it has them; the first of equals counts."""
    return _picked(_query(url))[0] if "utm_" in url else {}


def click(url: str) -> dict[str, str]:
    """`network` and `id` of the first parameter by which an advertising network knows its click; empty without one."""
    return _picked(_query(url))[1] if any(name in url for name in _CLICKS) else {}


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2] if len(url) <= MAX_URL_CHARS else ""


@lru_cache(maxsize=CACHED)
def _picked(query: str) -> tuple[dict[str, str], dict[str, str]]:
    """Campaign and click of an address's parameters."""
    try:
        said = parse_qsl(query, max_num_fields=MAX_FIELDS)
    except ValueError:
        said = []
    named: dict[str, str] = {}
    clicked: dict[str, str] = {}
    for name, value in said:
        text = value[:MAX_VALUE_CHARS]
        if (field := _UTM.get(name)) is not None:
            named.setdefault(field, text)
        elif name in _CLICKS and not clicked:
            clicked = {"network": _CLICKS[name], "id": text}
    return named, clicked


def referrer(url: str, page: str) -> dict[str, str]:
    """`type` (search, social, email, ai, internal, other), `domain`, and `name` of a known one; empty for what is no web address.

    `page` is the address that was come to: a referrer on the same host is `internal`.
    """
    host = _host(url)
    if not host:
        return {}
    if host == _host(page):
        return {"type": "internal", "domain": host}
    kind, name = known(host)
    return {"type": kind, "name": name, "domain": host} if name else {"type": kind, "domain": host}


def _host(url: str) -> str:
    return _host_of(url) if len(url) <= MAX_URL_CHARS and url.startswith(_SCHEMES) else ""


@lru_cache(maxsize=CACHED)
def _host_of(url: str) -> str:
    """The host in small letters without `www.`; empty for what is no web address."""
    try:
        found = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return found.removeprefix("www.")[:255]


@lru_cache(maxsize=CACHED)
def known(host: str) -> tuple[str, str]:
    """Kind and name, by the host or the nearest one above it; the country of `google.com.vn` counts for nothing."""
    labels = host.split(".")
    for start in range(len(labels) - 1):
        if (found := KINDS.get(".".join(labels[start:]))) is not None:
            return found
    national = _NATIONAL.search(host)
    return ("search", national[1].capitalize()) if national is not None else ("other", "")
