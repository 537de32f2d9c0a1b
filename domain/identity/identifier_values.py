"""The one spelling of an identifier's value, so that one customer's identifier is one node however it was written. Pure.

Example: `" Lan@Thu.VN "`, `<lan@thu.vn>`, `mailto:lan@thu.vn` and `lan@thu.vn,` are `lan@thu.vn`; `#N/A` is nobody's user id.

Invariant: what was normalised stays as it is when it is normalised again, since look-ups send values back as answers gave them.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal
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
_SEPARATORS: Final = re.compile(r"[\s.,/_\u2010-\u2015-]")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{16,128}")
NormalForm = Literal["text", "lower_case", "upper_alphanumeric", "digits", "hexadecimal", "email", "phone"]
"""How the spellings of one value are brought together.

`text`: as it is. `lower_case`: without regard to case. `upper_alphanumeric`: the letters, in upper case, and digits alone.
`digits`: a number that may be written in groups. `hexadecimal`: 16 to 128 hex digits, such as a hash. `email`, `phone`: as these
shipped namespaces.
"""
SHIPPED_FORMS: Final[Mapping[str, NormalForm]] = {"email": "email", "phone": "phone", "caller_number": "phone"}
"""The forms of the shipped namespaces; the form of one that is not here is `text`."""
_DOMAIN: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+(?=[0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def normalise(namespace: str, value: str, default_country: str) -> str | None:
    """Return the one spelling of a value of a shipped namespace, or None (see `normalise_as`)."""
    return normalise_as(SHIPPED_FORMS.get(namespace, "text"), value, default_country)


def normalise_as(form: NormalForm, value: str, default_country: str) -> str | None:
    """Return the one spelling of an identifier's value, or None when it cannot be an identifier of that form.

    Values are trimmed, in NFC, and without invisible characters and the wrappings of spreadsheets; what else is done to them is
    the form's. None is returned for a value that is empty, too long, malformed or names nobody (see `placeholders`).
    `default_country` is the country of a phone number that is written without one.
    """
    text = unwrapped(unicodedata.normalize("NFC", visible(value)))
    if not text or len(text) > MAX_VALUE_CHARS or is_blocked(text):
        return None
    if form == "email":
        normalised = normalise_email(text)
    elif form == "phone":
        normalised = normalise_phone(text, default_country)
    else:
        normalised = _normalise_id(form, text)
    return None if normalised is None or len(normalised) > MAX_VALUE_CHARS or is_blocked(normalised) else normalised


def _normalise_id(form: NormalForm, text: str) -> str | None:
    plain = normalise_text(text)
    if plain is None or form == "text":
        return plain
    folded = unicodedata.normalize("NFKC", plain)
    if form == "lower_case":
        return unicodedata.normalize("NFC", plain.lower())
    if form == "upper_alphanumeric":
        return "".join(letter for letter in folded.upper() if letter.isalnum())
    if form == "digits":
        return _digits_alone(folded)
    lowered = folded.lower()
    return lowered if _HEXADECIMAL.fullmatch(lowered) is not None else None


def _digits_alone(text: str) -> str | None:
    """Return the digits of a number that may be written in groups; None when there is anything else in it, such as letters."""
    digits = _SEPARATORS.sub("", text)
    return digits if digits.isascii() and digits.isdigit() else None


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
