"""How a visitor arrived: the campaign in the page's address, and the kind of site that the referrer is. Pure."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from domain.intake.enrichment.referrers import REFERRER_BY_HOST
from domain.text_caches import cached_texts

MAX_URL_CHARS: Final = 4_096
"""Longer addresses are ignored, because results are cached and a client must not decide how much memory the cache takes."""
MAX_VALUE_CHARS: Final = 512
MAX_FIELDS: Final = 200
_CAMPAIGN_FIELD_BY_UTM: Final = {
    "utm_campaign": "name", "utm_source": "source", "utm_medium": "medium", "utm_term": "term", "utm_content": "content",
    "utm_id": "id",
}  # fmt: skip
"""A parameter of the address → its name in Segment's `context.campaign`."""
_NETWORK_BY_CLICK_PARAMETER: Final = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "msclkid": "microsoft", "fbclid": "facebook", "ttclid": "tiktok",
    "twclid": "x", "li_fat_id": "linkedin", "zarsrc": "zalo",
}  # fmt: skip
_ENDS_OF_AUTHORITY: Final = str.maketrans("?#", "//")
_WEB_SCHEMES: Final = ("http://", "https://", "android-app://")
_NATIONAL_SITES: Final = ("google", "yahoo", "yandex")
_MAX_HOST_CHARS: Final = 255


def parse_campaign(url: str) -> dict[str, str]:
    """Return `name`, `source`, `medium`, `term`, `content` and `id` of a page's address, if it has them. The first counts."""
    return _campaign_and_click(_query(url))[0] if "utm_" in url else {}


def parse_click(url: str) -> dict[str, str]:
    """Return `network` and `id` of the first click parameter of an advertising network; empty without one."""
    return _campaign_and_click(_query(url))[1] if any(name in url for name in _NETWORK_BY_CLICK_PARAMETER) else {}


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2] if len(url) <= MAX_URL_CHARS else ""


@cached_texts("campaigns")
def _campaign_and_click(query: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the campaign and the click of an address's parameters."""
    try:
        parameters = parse_qsl(query, max_num_fields=MAX_FIELDS)
    except ValueError:
        parameters = []
    campaign_fields: dict[str, str] = {}
    click_fields: dict[str, str] = {}
    for name, value in parameters:
        text = value[:MAX_VALUE_CHARS]
        if (field := _CAMPAIGN_FIELD_BY_UTM.get(name)) is not None:
            campaign_fields.setdefault(field, text)
        elif name in _NETWORK_BY_CLICK_PARAMETER and not click_fields:
            click_fields = {"network": _NETWORK_BY_CLICK_PARAMETER[name], "id": text}
    return campaign_fields, click_fields


def classify_referrer(url: str, page: str) -> dict[str, str]:
    """Return `type` (search, social, email, ai, internal, other), `domain`, and the `name` of a known site.

    The result is empty when `url` is no web address. `page` is the visited address: a referrer on the same host is `internal`.
    """
    host = _host(url)
    if not host:
        return {}
    if host == _host(page):
        return {"type": "internal", "domain": host}
    kind, name = classify_host(host)
    return {"type": kind, "name": name, "domain": host} if name else {"type": kind, "domain": host}


def _host(url: str) -> str:
    return _parse_host(url) if len(url) <= MAX_URL_CHARS and url.startswith(_WEB_SCHEMES) else ""


@cached_texts("addresses of pages")
def _parse_host(url: str) -> str:
    """Return the host in small letters without `www.`; empty for what is no web address."""
    scheme, _, rest = url.partition("://")
    authority = rest.translate(_ENDS_OF_AUTHORITY).partition("/")[0]
    if len(authority) > _MAX_HOST_CHARS:  # the parser brings a host into a normal form of Unicode, whatever that costs
        return ""
    try:
        hostname = urlsplit(f"{scheme}://{authority}").hostname or ""
    except ValueError:
        return ""
    return hostname.removeprefix("www.")[:_MAX_HOST_CHARS]


@cached_texts("hosts")
def classify_host(host: str) -> tuple[str, str]:
    """Return kind and name of the host, or of the nearest known domain above it. The country of `google.com.vn` does not matter."""
    labels = host.split(".")
    for start in range(len(labels) - 1):
        if (classification := REFERRER_BY_HOST.get(".".join(labels[start:]))) is not None:
            return classification
    site = _national_site(labels)
    return ("search", site.capitalize()) if site else ("other", "")


def _national_site(labels: list[str]) -> str:
    """Return `google` of `google.vn` and of `www.google.com.vn`; empty for other hosts."""
    *parents, country = labels
    if len(country) != 2 or not (country.isascii() and country.isalpha() and country.islower()):
        return ""
    if len(parents) > 1 and parents[-1] in ("com", "co"):
        parents.pop()
    return parents[-1] if parents and parents[-1] in _NATIONAL_SITES else ""
