"""The one spelling of an identifier's value, so that one customer's identifier is one node however it was written. Pure.

Example: `" Lan@Thu.VN "`, `<lan@thu.vn>`, `mailto:lan@thu.vn` and `lan@thu.vn,` are `lan@thu.vn`; `#N/A` is nobody's user id.

Invariant: what was normalised stays as it is when it is normalised again, since look-ups send values back as answers gave them.
"""

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote

from domain.identity.phone_numbers import normalise_phone
from domain.identity.placeholders import is_blocked
from domain.identity.spreadsheet_values import unwrapped, visible, without_exponent, without_zero_fraction
from domain.letters import unicode_form
from schemas.identifiers import MAX_VALUE_CHARS

_MAX_RAW_CHARS: Final = 4 * MAX_VALUE_CHARS
"""What stands around a value, and what nobody sees in it, is no longer than this. A longer text is read no further."""
_MAILTO: Final = "mailto:"
_BEFORE_EMAIL: Final = " \t\r\n<([{\"'\u201c\u2018,;:"
_BEHIND_EMAIL: Final = " \t\r\n>)]}\"'\u201d\u2019.,;:"
_NOT_IN_LOCAL_PART: Final = frozenset('@<>()[]{},;:"\\')
_SEPARATORS: Final = frozenset(".,/_-\u2010\u2011\u2012\u2013\u2014\u2015")
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_MIN_HEX_DIGITS: Final = 16
_MAX_HEX_DIGITS: Final = 128
_LABEL_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_DOTS_OF_DOMAINS: Final = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))
"""What IDNA takes for a dot."""
_MAX_DOMAIN_CHARS: Final = 253
_MAX_LABEL_CHARS: Final = 63
NormalForm = Literal["text", "lower_case", "upper_alphanumeric", "digits", "hexadecimal", "email", "phone"]
"""How the spellings of one value are brought together.

`text`: as it is. `lower_case`: without regard to case. `upper_alphanumeric`: the letters, in upper case, and digits alone.
`digits`: a number that may be written in groups. `hexadecimal`: 16 to 128 hex digits, such as a hash. `email`, `phone`: as these
shipped namespaces.
"""
SHIPPED_FORMS: Final[Mapping[str, NormalForm]] = {"email": "email", "phone": "phone", "caller_number": "phone"}
"""The forms of the shipped namespaces; the form of one that is not here is `text`."""


def normalise(namespace: str, value: str, default_country: str) -> str | None:
    """Return the one spelling of a value of a shipped namespace, or None (see `normalise_as`)."""
    return normalise_as(SHIPPED_FORMS.get(namespace, "text"), value, default_country)


def normalise_as(form: NormalForm, value: str, default_country: str) -> str | None:
    """Return the one spelling of an identifier's value, or None when it cannot be an identifier of that form.

    Values are trimmed, in NFC, and without invisible characters and the wrappings of spreadsheets; what else is done to them is
    the form's. None is returned for a value that is empty, too long, malformed or names nobody (see `placeholders`).
    `default_country` is the country of a phone number that is written without one.
    """
    if len(value) > _MAX_RAW_CHARS:
        return None
    text = unwrapped(unicode_form("NFC", visible(value)))
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
    folded = unicode_form("NFKC", plain)
    if form == "lower_case":
        return unicode_form("NFC", plain.lower())
    if form == "upper_alphanumeric":
        return "".join(letter for letter in folded.upper() if letter.isalnum())
    if form == "digits":
        return _digits_alone(folded)
    lowered = folded.lower()
    return lowered if _MIN_HEX_DIGITS <= len(lowered) <= _MAX_HEX_DIGITS and _HEX_DIGITS.issuperset(lowered) else None


def _digits_alone(text: str) -> str | None:
    """Return the digits of a number that may be written in groups; None when there is anything else in it, such as letters."""
    digits = "".join(letter for letter in text if letter not in _SEPARATORS and not letter.isspace())
    return digits if digits.isascii() and digits.isdigit() else None


def normalise_text(text: str) -> str | None:
    """Return an id without the traces of floating point: `12345` of `12345.0`; None for one that lost digits: `1.23457E+11`."""
    plain = without_exponent(text)
    return None if plain is None else without_zero_fraction(plain)


def normalise_email(text: str) -> str | None:
    """Return an e-mail address in lower case with an IDNA domain, without what stands around it when it is pasted.

    Returns None for a text that is not one e-mail address.
    """
    text = _out_of_brackets(unicode_form("NFKC", text)).strip().lstrip(_BEFORE_EMAIL)
    if text[: len(_MAILTO)].lower() == _MAILTO:
        text = visible(unquote(text[len(_MAILTO) :].partition("?")[0]))
    text = unicode_form("NFKC", text.lstrip(_BEFORE_EMAIL).rstrip(_BEHIND_EMAIL).lower())
    local, _, domain = text.rpartition("@")
    if not local or any(letter in _NOT_IN_LOCAL_PART or letter.isspace() for letter in local):
        return None
    ascii_domain = _ascii_domain(domain)
    return None if ascii_domain is None else f"{local}@{ascii_domain}"


def _out_of_brackets(text: str) -> str:
    """Return `lan@thu.vn` of `Lan <lan@thu.vn>;`, and any other text as it is."""
    before, _, rest = text.partition("<")
    inner, closing, behind = rest.partition(">")
    if not closing or "<" in rest or ">" in before or any(letter not in ".,;" and not letter.isspace() for letter in behind):
        return text
    return inner


def _ascii_domain(domain: str) -> str | None:
    """Return a domain as IDNA writes it; None when it is no domain of the Internet.

    Its length is asked for first: encoding a label costs the square of its length.
    """
    labels = domain.translate(_DOTS_OF_DOMAINS).split(".")
    if len(domain) > _MAX_DOMAIN_CHARS or not all(0 < len(label) <= _MAX_LABEL_CHARS for label in labels):
        return None
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    *parents, top = ascii_domain.split(".")
    is_top = _is_label(top) and "_" not in top and bool(top.strip("0123456789-"))
    return ascii_domain if is_top and parents and all(map(_is_label, parents)) else None


def _is_label(label: str) -> bool:
    return bool(label) and label[0] != "-" and label[-1] != "-" and _LABEL_LETTERS.issuperset(label)
