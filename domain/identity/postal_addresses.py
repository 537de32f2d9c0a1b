"""Normalises postal addresses, so that two spellings of one address are equal. Pure; the result is compared and never displayed.

Addresses are compared without accents: many people in Vietnam leave them out, and there are two ways to place tone marks. A word
for a kind of place is removed where the name or the house number suffices (street, city, province, country). It is spelled out
where it distinguishes places (ward, district, commune). So `Số 12 đường Trần Hưng Đạo, P.5, TP. Huế` and
`12 Tran Hung Dao, phường 5, Huế` both become `12 tran hung dao phuong 5 hue`.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from domain.letters import PLAIN_D, unicode_form
from domain.text_caches import cached_texts

MAX_ADDRESS_CHARS: Final = 512

_PHRASES: Final = (("thanh pho", ""), ("viet nam", ""), ("thi tran", "tt"), ("thi xa", "tx"), ("t p", ""))
_WORDS: Final = {
    "so": "", "no": "", "duong": "", "d": "", "dg": "", "street": "", "st": "", "road": "", "rd": "", "pho": "", "tp": "",
    "city": "", "tinh": "", "province": "", "vietnam": "", "vn": "",
    "p": "phuong", "f": "phuong", "ward": "phuong", "q": "quan", "district": "quan", "dist": "quan", "h": "huyen", "x": "xa",
    "hcm": "ho chi minh", "tphcm": "ho chi minh", "hn": "ha noi", "ng": "ngo",
}  # fmt: skip
_NUMBERED_LETTERS: Final = "pqf"
"""A ward, a district: P.05 is phường 5."""


def normalise_address(address: Any) -> str | None:
    """Return an address in normal form; it is a text, or an object with `street` and `city`, `state` or `postalCode`.

    Return None for an address that identifies no house: another kind of value, a text that is too long, or one without a digit,
    which whole villages may share.
    """
    if isinstance(address, Mapping):
        return _normalise_parts(address)
    return _normalise_text(address) if isinstance(address, str) and len(address) <= MAX_ADDRESS_CHARS else None


def _normalise_parts(address: Mapping[str, Any]) -> str | None:
    street = address.get("street")
    if not isinstance(street, str) or not any(character.isdigit() for character in street):
        return None
    city = address.get("city") or address.get("postalCode")
    parts = (street, city, address.get("state"))
    text = ", ".join(str(part) for part in parts if isinstance(part, str | int) and part)
    return _normalise_text(text) if len(text) <= MAX_ADDRESS_CHARS else None


@cached_texts("addresses", weight=2)
def _normalise_text(text: str) -> str | None:
    decomposed = unicode_form("NFD", text.casefold().translate(PLAIN_D))
    unaccented = "".join(character for character in decomposed if not unicodedata.combining(character))
    words = "".join(character if character.isalnum() else " " for character in unaccented)
    if not any(character.isdigit() for character in words) or not any(character.isalpha() for character in words):
        return None
    words = f" {' '.join(map(_without_number, words.split()))} "
    # Phrases come before words: "t p" (T.P. Huế) is a city, but the table of words would take its "p" for a ward. The spaces
    # around the text let a phrase match whole words only, also at both ends.
    for phrase, replacement in _PHRASES:
        words = words.replace(f" {phrase} ", f" {replacement} ")
    spelling = " ".join(filter(None, (_WORDS.get(word, word) for word in words.split())))
    return spelling or None


def _without_number(word: str) -> str:
    """Return `p 5` of `p05`, and any other word as it is."""
    is_numbered = word[0] in _NUMBERED_LETTERS and word[1:].isdecimal()
    return f"{word[0]} {word[1:].lstrip('0') or '0'}" if is_numbered else word
