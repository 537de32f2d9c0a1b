"""Bring phone numbers to one spelling: E.164, with `;ext=12` behind it for an extension. Pure.

Google's libphonenumber reads the number. It skips punctuation and turns letters into digits, so what it must not see is taken off
before: the decimals and exponents of a number that went through floating point, extensions, words. It gets digits alone: its
patterns for punctuation and extensions take the cube of a text's length.

Example: `0912 345 678`, `84912345678.0` and `8.4912345678E+10` are `+84912345678`. `028 3822 1234 máy lẻ 12` is
`+842838221234;ext=12`, another number than that of the colleague with the extension 13.
"""

from typing import Final

import phonenumbers
import re2

from domain.identity.placeholders import is_placeholder_number
from domain.identity.spreadsheet_values import without_exponent
from domain.letters import unicode_form

_LABELS: Final = (
    ";ext=|ext(?:ension|n)?|line|int|anexo|доб|x|#|~|,,+|(?:số ?)?(?:m[áa]y ?(?:l[ẻe]|nh[áa]nh)|nh[áa]nh|n[ộo]i ?b[ộo])|ml"
)
"""What stands in front of an extension."""
_EXTENSION: Final = re2.compile(
    rf"(?is)(?P<main>.*\p{{Nd}}[)\]]?)[ ,;.(\[/\x{{2013}}-]*(?:{_LABELS})[ .:=#-]*(?P<extension>\p{{Nd}}{{1,7}}) ?[)\]#]?[ .]*"
)
_NOTE: Final = re2.compile(r"(?s)(?P<main>.*?\p{Nd}[^\pL\pN_#]*)[\pL\p{Nl}\p{No}]\P{Nd}*")
"""A word behind the number, such as a name, without a digit that could belong to the number."""
_MAX_EXTENSION_DIGITS: Final = 7
_MAX_CHARS: Final = 250
"""As many as libphonenumber reads."""
_MAX_DIGITS: Final = 40
"""More than the longest number, the longest prefix for calls abroad and the code of a carrier have together."""
_PUNCTUATION_OF_MOST: Final = " +-.()"
"""Signs of a number without an extension and without a word behind it."""
_PUNCTUATION: Final = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212 ()[]./~\u2053\u223c*")
"""What may stand between the digits of a number. Other signs mean that it is none."""
_MAX_DECIMALS: Final = 2
"""No group of a written phone number is shorter than three digits when it is the only one behind a point or a comma."""
_COUNTRY_CODE: Final = 84
_PREFIX_SINCE_2018: Final = {
    "120": "70", "121": "79", "122": "77", "126": "76", "128": "78",
    "123": "83", "124": "84", "125": "85", "127": "81", "129": "82",
    "162": "32", "163": "33", "164": "34", "165": "35", "166": "36", "167": "37", "168": "38", "169": "39",
    "186": "56", "188": "58",
    "199": "59",
}  # fmt: skip
"""Vietnam's mobile prefixes of eleven-digit numbers (0120 …) and what took their place between September and November 2018.

The table is that of the Ministry of Information and Communications; lines: MobiFone, VinaPhone, Viettel, Vietnamobile, Gmobile.
The seven digits behind the prefix stayed.
"""
_OLD_MOBILE_DIGITS: Final = 10


def normalise_phone(text: str, default_country: str) -> str | None:
    """Return the one spelling of a phone number; None for a text that is none, is a filler, or lost digits in a spreadsheet.

    `default_country` is the country of a number that is written without one.
    """
    if len(text) > _MAX_CHARS:
        return None
    main, extension = _split_extension(_without_trailing_signs(" ".join(unicode_form("NFKC", text).split())))
    plain = _without_floating_point(main, default_country)
    number = None if plain is None else _parse(plain, default_country)
    if plain is None or number is None or not phonenumbers.is_possible_number(number):
        return None
    national = phonenumbers.national_significant_number(number)
    if any(is_placeholder_number(digits) for digits in (_digits(plain), national, f"0{national}")):
        return None
    if number.country_code == _COUNTRY_CODE and len(national) == _OLD_MOBILE_DIGITS and national[:3] in _PREFIX_SINCE_2018:
        number.national_number = int(_PREFIX_SINCE_2018[national[:3]] + national[3:])
    e164: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len(extension) > _MAX_EXTENSION_DIGITS:
        return None  # a second number in the same cell
    return f"{e164};ext={extension}" if extension else e164


def has_extension(number: str) -> bool:
    """Return whether a normalised number has an extension: it is a line behind an exchange, and not one of a household."""
    return ";" in number


def _split_extension(text: str) -> tuple[str, str]:
    if all(letter.isdecimal() or letter in _PUNCTUATION_OF_MOST for letter in text):
        return text, ""
    match = _EXTENSION.fullmatch(text)
    main, extension = (text, "") if match is None else (match["main"], match["extension"])
    note = _NOTE.fullmatch(main)
    return (main if note is None else _without_trailing_signs(note["main"])), extension


def _without_trailing_signs(text: str) -> str:
    end = len(text)
    while end and not text[end - 1].isalnum() and text[end - 1] not in "_#":
        end -= 1
    return text[:end]


def _without_floating_point(main: str, default_country: str) -> str | None:
    """Return a number without the decimals or the exponent of a floating-point number; None when there is no whole number."""
    plain = without_exponent(main)
    if plain is None:
        return None
    # libphonenumber takes what follows a comma for an extension.
    grouped = plain.replace(",", " ")
    before, _, fraction = grouped.replace(".", " ").rpartition(" ")
    sign = plain[len(before) : len(before) + 1]
    if sign not in (".", ",") or not fraction.isdecimal() or not before[-1:].isdecimal() or sign in plain[: len(before)]:
        return grouped  # 0912.345.678: points between groups
    whole = grouped[: len(before)]
    if len(fraction) > _MAX_DECIMALS and len(whole) > 1:
        # 091.2345678 is written in groups. 912345678.125 is not: what stands before the point is a whole number by itself.
        number = _parse(whole, default_country)
        if number is None or not phonenumbers.is_valid_number(number):
            return grouped
    return None if fraction.strip("0") else whole


def _parse(text: str, default_country: str) -> phonenumbers.PhoneNumber | None:
    """Return the number that libphonenumber reads, or None. It would turn words into digits: a word among digits makes None."""
    start = next((position for position, letter in enumerate(text) if letter.isdecimal() or letter == "+"), len(text))
    number = text[start:]
    plus = "+" if number.startswith("+") else ""
    body = number.lstrip("+")
    digits = "".join(str(int(letter)) for letter in body if letter.isdecimal())
    if len(digits) > _MAX_DIGITS or any(not letter.isdecimal() and letter not in _PUNCTUATION for letter in body):
        return None
    try:
        return phonenumbers.parse(plus + digits, default_country)
    except phonenumbers.NumberParseException:
        return None


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdecimal())
