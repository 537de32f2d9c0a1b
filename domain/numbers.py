"""The one reader of numbers that people and programs write: in files, in webhooks, by the call centre. Pure.

Its invariant: a text is read as the one number that its writer can have meant, or not at all. `1.250` is the exception that the
field expects: a single separator before exactly three digits groups thousands, unless the caller knows the decimal sign.

Example: `VND 1,250,000`, `1.250.000 ₫`, `1'250'000`, `1 250 000` and `1.25E+06` are all 1250000, `(1,250.00)` is -1250.0,
`0,500` is 0.5 (no group of thousands begins with a zero), and `1.2.3` is nothing.
"""

import math
import re
import unicodedata
from decimal import Decimal
from typing import Any, Final, Literal

DecimalSign = Literal[".", ","]

MAX_NUMBER_CHARS: Final = 64
_CODES: Final = (
    "aed aud bnd brl cad chf cny czk dkk eur gbp hkd huf idr inr jpy khr krw lak mmk mop myr nok nzd php pln rub sek sgd thb try "
    "twd uah usd vnd zar"
)
_CURRENCY: Final = rf"(?:us\$|s\$|[$€£¥₩₫฿₹₽₱]|vnđ|đồng|dong|đ|d(?=\W|$)|{'|'.join(_CODES.split())})"
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
_PREFIX: Final = re.compile(rf"^{_CURRENCY}\.?\s*", re.IGNORECASE)
_SUFFIX: Final = re.compile(rf"\s*{_CURRENCY}\.?$", re.IGNORECASE)
_EXPONENT: Final = re.compile(r"(\d{1,18})(?:[.,](\d{1,18}))?e([+-]?\d{1,3})", re.IGNORECASE)
_DIGITS: Final = re.compile(r"\d{1,18}")
_GROUPED: Final = re.compile(r"([1-9]\d{0,2})([., '])(\d{3}(?:\2\d{3})*)(?:([.,])(\d{1,18}))?")
_DECIMAL: Final = re.compile(r"(\d{0,15})([.,])(\d{0,32})")
_MAX_WHOLE_DIGITS: Final = 15
"""A float keeps this many digits; a longer whole part with decimals behind it would lose some of them."""


def read_number(value: Any, decimal_sign: DecimalSign | None = None) -> int | float | None:
    """Return the number that a JSON value or a text is; None for anything else, and for what could be two numbers.

    A finite number is returned as it is, a boolean is no number. Without `decimal_sign` a single separator before exactly three
    digits groups thousands (`1.250` is 1250), and any other single separator is the decimal sign. With it, the other separators
    are groups, and a text that contradicts it is None. A currency before or behind, a sign, brackets for a negative number and
    spaces of every kind are read.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > MAX_NUMBER_CHARS:
        return None
    text, is_negative = _unwrap(unicodedata.normalize("NFKC", value.translate(_PLAIN)).translate(_PLAIN).strip())
    if not text.isascii():
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
    unprefixed = _PREFIX.sub("", text, count=1)
    return unprefixed if unprefixed != text else _SUFFIX.sub("", text, count=1)


def _read_plain(text: str, decimal_sign: DecimalSign | None) -> int | float | None:
    if _DIGITS.fullmatch(text):
        return int(text)
    if match := _EXPONENT.fullmatch(text):
        return _read_exponent(match)
    if (match := _GROUPED.fullmatch(text)) and _is_grouped(match, decimal_sign):
        return _read_grouped(match)
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[1] or match[3]) or decimal_sign not in (None, match[2]):
        return None
    return float(f"{match[1] or 0}.{match[3] or 0}")


def _is_grouped(match: re.Match[str], decimal_sign: DecimalSign | None) -> bool:
    """Return whether the separators of a match are groups of thousands; otherwise its one separator is a decimal sign."""
    if match[4] is not None:
        return match[4] != match[2] and decimal_sign in (None, match[4])
    return match[2] != decimal_sign


def _read_grouped(match: re.Match[str]) -> int | float | None:
    whole = match[1] + match[3].replace(match[2], "")
    if match[5] is None:
        return int(whole)
    return float(f"{whole}.{match[5]}") if len(whole) <= _MAX_WHOLE_DIGITS else None


def _read_exponent(match: re.Match[str]) -> int | float | None:
    """Return `1.25E+06` as the integer 1250000 if it is one; the separator of a mantissa is always the decimal sign."""
    exact = Decimal(f"{match[1]}.{match[2] or 0}e{match[3]}")
    if exact == 0:
        return 0
    if not -300 <= exact.adjusted() < 300:
        return None
    is_integer = exact.adjusted() < 18 and exact == exact.to_integral_value()
    return int(exact) if is_integer else float(exact)
