"""The one reader of numbers that people and programs write: in files, in webhooks, by the call centre. Pure.

Its invariant: a text is read as the one number that its writer can have meant, or not at all. `1.250` is the exception that the
field expects: a single separator before exactly three digits groups thousands, unless the caller knows the decimal sign.

Example: `VND 1,250,000`, `1.250.000 ₫`, `1'250'000`, `1 250 000` and `1.25E+06` are all 1250000, `(1,250.00)` is -1250.0,
`0,500` is 0.5 (no group of thousands begins with a zero), and `1.2.3` is nothing.
"""

import math
from decimal import Decimal
from typing import Any, Final, Literal

import re2

from domain.letters import unicode_form

DecimalSign = Literal[".", ","]

MAX_NUMBER_CHARS: Final = 64
_CODES: Final = (
    "aed aud bnd brl cad chf cny czk dkk eur gbp hkd huf idr inr jpy khr krw lak mmk mop myr nok nzd php pln rub sek sgd thb try "
    "twd uah usd vnd zar"
)
_CURRENCIES: Final = tuple(sorted(("us$", "s$", *"$€£¥₩₫฿₹₽₱đd", "vnđ", "đồng", "dong", *_CODES.split()), key=len, reverse=True))
"""Every spelling of a currency in small letters, the longest first: `us$` before `$`, `đồng` before `đ`."""
_SPACES: Final = "\u00a0\u2007\u2009\u200a\u202f\u3000\t"
_APOSTROPHES: Final = "\u2019\u2018\u02bc\u00b4`"
_MINUSES: Final = "\u2212\u2012\u2013\ufe63"
_INVISIBLE: Final = "\u200b\u200e\u200f\u2060\ufeff"
_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys(_SPACES, " "),
        **dict.fromkeys(_APOSTROPHES, "'"),
        **dict.fromkeys(_MINUSES, "-"),
        **dict.fromkeys(_INVISIBLE, None),
        "ð": "đ",
        "Ð": "đ",
    }
)
_EXPONENT: Final = re2.compile(r"(\d{1,18})(?:[.,](\d{1,18}))?[eE]([+-]?\d{1,3})")
_GROUPED: Final = re2.compile(r"([1-9]\d{0,2})((?:\.\d{3})+|(?:,\d{3})+|(?: \d{3})+|(?:'\d{3})+)(?:([.,])(\d{1,18}))?")
_DECIMAL: Final = re2.compile(r"(\d{0,15})([.,])(\d{0,32})")
_MAX_DIGITS: Final = 18
_SMALLEST_INT: Final = -(2**63)
_LARGEST_INT: Final = 2**64 - 1
_MAX_WHOLE_DIGITS: Final = 15
"""A float keeps this many digits; a longer whole part with decimals behind it would lose some of them."""


def read_number(value: Any, decimal_sign: DecimalSign | None = None) -> int | float | None:
    """Return the number that a JSON value or a text is; None for anything else, and for what could be two numbers.

    A finite number of at most 64 bits is returned as it is, a boolean is no number. Without `decimal_sign` a single separator
    before exactly three digits groups thousands (`1.250` is 1250), and any other single separator is the decimal sign. With it, the
    other separators are groups, and a text that contradicts it is None. A currency before or behind, a sign, brackets for a
    negative number and spaces of every kind are read.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if _SMALLEST_INT <= value <= _LARGEST_INT else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > MAX_NUMBER_CHARS:
        return None
    text, is_negative = _unwrap(unicode_form("NFKC", value.translate(_PLAIN)).translate(_PLAIN).strip())
    if not text.isascii() or len(text) > MAX_NUMBER_CHARS:  # one letter may stand for eighteen
        return None
    number = _read_plain(text, decimal_sign)
    return number if number is None or not is_negative else -number


def _unwrap(text: str) -> tuple[str, bool]:
    """Return a text without its currency, sign and brackets, and whether they make it negative. Two signs leave one in the text."""
    text = _without_currency(text)
    if text.startswith("(") and text.endswith(")"):
        return _without_currency(text[1:-1].strip()), True
    sign = text[:1] if text[:1] in ("+", "-") else text[-1:] if text[-1:] == "-" else ""
    if not sign:
        return text, False
    unsigned = text[1:] if text[0] == sign else text[:-1]
    return _without_currency(unsigned.strip()), sign == "-"


def _without_currency(text: str) -> str:
    """Return a text without the currency in front of it, or else behind it."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter with two small ones stands in no number
        return text
    for currency in _CURRENCIES if lowered.startswith(_CURRENCIES) else ():
        if lowered.startswith(currency) and (currency != "d" or not _is_word(lowered[1:2])):
            return text[len(currency) :].removeprefix(".").lstrip()
    unpointed = lowered.removesuffix(".")
    for currency in _CURRENCIES if unpointed.endswith(_CURRENCIES) else ():
        if unpointed.endswith(currency):
            return text[: len(unpointed) - len(currency)].rstrip()
    return text


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _read_plain(text: str, decimal_sign: DecimalSign | None) -> int | float | None:
    if text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    if match := _EXPONENT.fullmatch(text):
        return _read_exponent(match)
    if (match := _GROUPED.fullmatch(text)) and _is_grouped(match, decimal_sign):
        return _read_grouped(match)
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[1] or match[3]) or decimal_sign not in (None, match[2]):
        return None
    return float(f"{match[1] or 0}.{match[3] or 0}")


def _is_grouped(match: Any, decimal_sign: DecimalSign | None) -> bool:
    """Return whether the separators of a match are groups of thousands; otherwise its one separator is a decimal sign."""
    separator, decimal = str(match[2])[0], match[3]
    if decimal is not None:
        return bool(decimal != separator) and decimal_sign in (None, decimal)
    return separator != decimal_sign


def _read_grouped(match: Any) -> int | float | None:
    whole = match[1] + match[2].replace(match[2][0], "")
    if match[4] is None:
        return int(whole)
    return float(f"{whole}.{match[4]}") if len(whole) <= _MAX_WHOLE_DIGITS else None


def _read_exponent(match: Any) -> int | float | None:
    """Return `1.25E+06` as the integer 1250000 if it is one; the separator of a mantissa is always the decimal sign."""
    exact = Decimal(f"{match[1]}.{match[2] or 0}e{match[3]}")
    if exact == 0:
        return 0
    if not -300 <= exact.adjusted() < 300:
        return None
    is_integer = exact.adjusted() < 18 and exact == exact.to_integral_value()
    return int(exact) if is_integer else float(exact)
