"""Normal forms of Unicode, as the standard library gives them, but in time that grows with the text alone."""

import sys
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.letters import UnicodeForm, is_encodable, unicode_form

FORMS: tuple[UnicodeForm, ...] = get_args(UnicodeForm)
MARKS = "\u0301\u0316\u0323\u0302\u0334\u0344\u0f71\u0f72\u0f73\u0f75\u0f81\uff9e\uff9f\u3099\u309a\U0001d165"


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(max_size=200) | st.text("aệđ각ᄀ" + MARKS, min_size=65, max_size=300))
def test_a_form_is_that_of_the_standard_library(form: UnicodeForm, text: str) -> None:
    assert unicode_form(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
def test_every_letter_has_its_form_in_a_long_text(form: UnicodeForm) -> None:
    letters = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    assert unicode_form(form, letters) == unicodedata.normalize(form, letters)


def test_a_vietnamese_text_is_one_text_however_it_was_typed() -> None:
    composed = "Nguyễn Thị Ánh ở Huế, phường Đống Đa " * 10
    assert unicode_form("NFC", unicodedata.normalize("NFD", composed)) == composed
    assert unicode_form("NFC", composed) == composed


@pytest.mark.parametrize(("text", "encodable"), [("Huế", True), ("", True), ("\ud800", False), ("a\udfffb", False), ("😀", True)])
def test_text_with_a_lone_surrogate_is_not_encodable(text: str, encodable: bool) -> None:
    assert is_encodable(text) is encodable
