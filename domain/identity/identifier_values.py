"""The one spelling of an identifier's value, so that one customer's identifier is one node however it was written. Pure.

Example: `" Lan@Thu.VN "`, `<lan@thu.vn>`, `mailto:lan@thu.vn` and `lan@thu.vn,` are `lan@thu.vn`; `#N/A` is nobody's user id.

Invariant: what was normalised stays as it is when it is normalised again, since look-ups send values back as answers gave them.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from domain.identity.phone_numbers import normalise_phone
from domain.identity.placeholders import is_blocked
from domain.identity.spreadsheet_values import unwrapped, visible, without_exponent, without_zero_fraction
from schemas.identifiers import MAX_VALUE_CHARS

_BRACKETED: Final = re.compile(r"[^<>]*<([^<>]*)>[\s.,;]*")
_MAILTO: Final = re.compile(r"mailto:([^?]*)(?:\?.*)?", re.IGNORECASE | re.DOTALL)
_BEFORE_EMAIL: Final = " \t\r\n<([{\"'\u201c\u2018,;:"
_BEHIND_EMAIL: Final = " \t\r\n>)]}\"'\u201d\u2019.,;:"
_LOCAL_PART: Final = re.compile(r"[^\s@<>()\[\]{},;:\"\\]+")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+(?=[0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def normalise(namespace: str, value: str, default_country: str) -> str | None:
    """Return the one spelling of an identifier's value, or None when it cannot be an identifier of that namespace.

    Values are trimmed, in NFC, and without invisible characters and the wrappings of spreadsheets; e-mails are in lower case with
    an IDNA domain, phones in E.164. None is returned for a value that is empty, too long, malformed or names nobody (see
    `placeholders`). `default_country` is the country of a phone number that is written without one.
    """
    text = unwrapped(unicodedata.normalize("NFC", visible(value)))
    if not text or len(text) > MAX_VALUE_CHARS or is_blocked(text):
        return None
    if namespace == "email":
        normalised = normalise_email(text)
    elif namespace in ("phone", "caller_number"):
        normalised = normalise_phone(text, default_country)
    else:
        normalised = normalise_text(text)
    return None if normalised is None or len(normalised) > MAX_VALUE_CHARS or is_blocked(normalised) else normalised


def normalise_text(text: str) -> str | None:
    """Return an id without the traces of floating point: `12345` of `12345.0`; None for one that lost digits: `1.23457E+11`."""
    plain = without_exponent(text)
    return None if plain is None else without_zero_fraction(plain)


def normalise_email(text: str) -> str | None:
    """Return an e-mail address in lower case with an IDNA domain, without what stands around it when it is pasted.

    Returns None for a text that is not one e-mail address.
    """
    text = unicodedata.normalize("NFKC", text)
    if (match := _BRACKETED.fullmatch(text)) is not None:
        text = match[1]
    text = text.strip().lstrip(_BEFORE_EMAIL)
    if (match := _MAILTO.fullmatch(text)) is not None:
        text = visible(unquote(match[1]))
    text = unicodedata.normalize("NFKC", text.lstrip(_BEFORE_EMAIL).rstrip(_BEHIND_EMAIL).lower())
    local, _, domain = text.rpartition("@")
    if _LOCAL_PART.fullmatch(local) is None:
        return None
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    return f"{local}@{ascii_domain}" if _DOMAIN.fullmatch(ascii_domain) is not None else None
