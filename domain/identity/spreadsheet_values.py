"""Undo what spreadsheets and programs do to an identifier: wrappings, floating-point spellings, invisible characters. Pure.

Example: a customer number 007 that a spreadsheet exported as `="007"`, a program as `007.0`, and a page with an invisible mark
behind it, is `007` each time. `1.23457E+11` is no number any more: the digits behind the sixth are lost, so it stands for many.
"""

from typing import Final

import re2

_INVISIBLE: Final = (
    # Control characters that are no white space.
    (0x00, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F),
    # What Unicode lists as ignorable: soft hyphens, joiners, marks of direction, fillers, variation selectors, byte order marks,
    # tags.
    (0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_WITHOUT_INVISIBLE: Final = {code: None for first, last in _INVISIBLE for code in range(first, last + 1)}
_CLOSING_QUOTE: Final = {'"': '"', "'": "'", "\u201c": "\u201d"}
_APOSTROPHES: Final = ("'", "\u2019")
_SCIENTIFIC: Final = re2.compile(r"(-?)(\p{Nd}+)(?:[.,](\p{Nd}+))?[eE]([+-]?)(\p{Nd}+)")
_MAX_DIGITS: Final = 32
_MAX_EXPONENT_DIGITS: Final = 3
_GROUP_DIGITS: Final = 3


def visible(text: str) -> str:
    """Return a text without the characters that nobody sees, and without white space around it."""
    return (text if text.isascii() and text.isprintable() else text.translate(_WITHOUT_INVISIBLE)).strip()


def unwrapped(text: str) -> str:
    """Return `007` of what keeps a spreadsheet from reading it as a number: `="007"`, `'007`, and quotation marks around it."""
    start, end = _trim(text, 0, len(text))
    while start < end:
        opened = start
        if text[start] == "=":
            opened, _ = _trim(text, start + 1, end)
            if opened == end or text[opened] != '"':
                break
        quote, inner = text[opened], opened + 1
        if inner < end and text[end - 1] == _CLOSING_QUOTE.get(quote):
            end -= 1
        elif quote not in _APOSTROPHES or inner == end:
            break
        start, end = _trim(text, inner, end)
    return text[start:end]


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where a part of a text begins and ends without white space around it. No part is copied: quotes may be nested."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def without_exponent(text: str) -> str | None:
    """Return a text in scientific notation as the whole number that it stands for; any other text as it is.

    Returns None when that number is not whole, is negative, or is known by some of its digits alone: `9.12E+08` stands for every
    number that rounds to it. An `E` between plain digits is no exponent: `12345e67` is part of many hexadecimal ids.
    """
    match = _SCIENTIFIC.fullmatch(text) if text[-1:].isdecimal() and ("e" in text or "E" in text) else None
    if match is None or not (match[3] or match[4]) or len(match[5]) > _MAX_EXPONENT_DIGITS:
        return text
    digits = match[2] + (match[3] or "")
    if max(len(match[2]), len(match[3] or "")) > _MAX_DIGITS:
        return text
    point = len(match[2]) + int(match[4] + match[5])
    if match[1] or not 0 < point <= len(digits) or digits[point:].strip("0"):
        return None
    return digits[:point].lstrip("0") or "0"


def without_zero_fraction(text: str) -> str:
    """Return `12345` of `12345.0`, as a program writes the number 12345 that it keeps in floating point; other texts as they are.

    `12.000` stays: three digits behind a point may be the thousands of twelve thousand.
    """
    whole, separator, fraction = text.replace(",", ".").partition(".")
    if not separator or not whole.isdecimal() or not fraction or fraction.strip("0"):
        return text
    is_group = len(fraction) == _GROUP_DIGITS and len(whole) <= _GROUP_DIGITS
    return text if is_group else whole
