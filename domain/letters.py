"""Letters that people mean as another one, and the normal forms of Unicode in time that grows with the text alone. Pure."""

import unicodedata
from itertools import groupby
from typing import Final, Literal

STROKED_D: Final = "đĐðÐɖƉ"
"""The Vietnamese đ and the letters that are typed for it: Icelandic eth, whose capital Ð looks exactly like Đ, and African d."""
PLAIN_D: Final = str.maketrans(dict.fromkeys(STROKED_D, "d"))
"""The table for `str.translate` that makes each of them a d, in whatever case."""

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]
_SHORT_CHARS: Final = 64
"""Up to this length the marks on one letter are so few that it does not matter how they are sorted."""


def unicode_form(form: UnicodeForm, text: str) -> str:
    """Return the text in a normal form, as `unicodedata.normalize` does, in time that grows with its length.

    The standard library sorts the marks on a letter by insertion: a letter with 2 MB of marks, which fits into one request, costs
    it an hour. Here the letters of a long text are decomposed one by one and their marks are sorted before the library sees them.
    """
    if text.isascii() or unicodedata.is_normalized(form, text):  # noqa: TID251 - here is what the others call
        return text
    if len(text) > _SHORT_CHARS:
        decomposed_form: UnicodeForm = "NFKD" if "K" in form else "NFD"
        letters = "".join(unicodedata.normalize(decomposed_form, letter) for letter in text)  # noqa: TID251 - letter by letter
        text = "".join(
            "".join(sorted(run, key=unicodedata.combining) if is_marks else run) for is_marks, run in groupby(letters, _is_mark)
        )
    return unicodedata.normalize(form, text)  # noqa: TID251 - the marks are few, or sorted


def _is_mark(letter: str) -> bool:
    return unicodedata.combining(letter) > 0


def is_encodable(text: str) -> bool:
    """Return whether a text has a form in UTF-8: one with a lone surrogate has none, and RE2 does not read it."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
