"""Undo what spreadsheets and programs do to an identifier: wrappings, floating-point spellings, invisible characters. Pure.

Example: a customer number 007 that a spreadsheet exported as `="007"`, a program as `007.0`, and a page with an invisible mark
behind it, is `007` each time. `1.23457E+11` is no number any more: the digits behind the sixth are lost, so it stands for many.
"""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    # Control characters that are no white space; then what Unicode lists as ignorable: soft hyphens, joiners, marks of direction,
    # fillers, variation selectors, byte order marks, tags.
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_WRAPPED: Final = re.compile(r"""=\s*"(.*)"|"(.*)"|'(.*)'|“(.*)”|['\u2019](.+)""", re.DOTALL)
_WHOLE: Final = re.compile(r"(\d+)[.,](0+)")
_SCIENTIFIC: Final = re.compile(r"(-?)(\d{1,32})(?:[.,](\d{1,32}))?[eE]([+-]?)(\d{1,3})")
_GROUP_DIGITS: Final = 3


def visible(text: str) -> str:
    """Return a text without the characters that nobody sees, and without white space around it."""
    return (text if text.isascii() and text.isprintable() else _INVISIBLE.sub("", text)).strip()


def unwrapped(text: str) -> str:
    """Return `007` of what keeps a spreadsheet from reading it as a number: `="007"`, `'007`, and quotation marks around it."""
    while (match := _WRAPPED.fullmatch(text)) is not None:
        text = next(inner for inner in match.groups() if inner is not None).strip()
    return text


def without_exponent(text: str) -> str | None:
    """Return a text in scientific notation as the whole number that it stands for; any other text as it is.

    Returns None when that number is not whole, is negative, or is known by some of its digits alone: `9.12E+08` stands for every
    number that rounds to it. An `E` between plain digits is no exponent: `12345e67` is part of many hexadecimal ids.
    """
    match = _SCIENTIFIC.fullmatch(text)
    if match is None or not (match[3] or match[4]):
        return text
    digits = match[2] + (match[3] or "")
    point = len(match[2]) + int(match[4] + match[5])
    if match[1] or not 0 < point <= len(digits) or digits[point:].strip("0"):
        return None
    return digits[:point].lstrip("0") or "0"


def without_zero_fraction(text: str) -> str:
    """Return `12345` of `12345.0`, as a program writes the number 12345 that it keeps in floating point; other texts as they are.

    `12.000` stays: three digits behind a point may be the thousands of twelve thousand.
    """
    match = _WHOLE.fullmatch(text)
    is_group = match is not None and len(match[2]) == _GROUP_DIGITS and len(match[1]) <= _GROUP_DIGITS
    return text if match is None or is_group else match[1]
