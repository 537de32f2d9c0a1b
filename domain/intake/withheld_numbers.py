"""Recognise what telephone systems write for a caller whose number is withheld. Pure.

Most write a word (`anonymous`), nothing at all, or a number that is too short to be dialled; none of these is a phone number. Some
write the word in the digits of a telephone's keypad instead, and that does look like one: ANONYMOUS becomes `+266696687`.
"""

from typing import Final

_KEYPAD: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_WORDS: Final = ("anonymous", "blocked", "private", "restricted", "unavailable", "unknown")
_WITHHELD_NUMBERS: Final = frozenset(word.translate(_KEYPAD) for word in _WORDS)


def is_withheld(number: str) -> bool:
    """Return whether a caller's number is a word in the digits of a keypad. A form may have made a blank of its plus sign."""
    return number.strip().removeprefix("+") in _WITHHELD_NUMBERS
