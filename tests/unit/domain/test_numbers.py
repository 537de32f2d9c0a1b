from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.numbers import DecimalSign, read_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1250000", 1250000), ("1.250.000", 1250000), ("1,250,000", 1250000), ("1 250 000", 1250000), ("1.250.000,5", 1250000.5),
        ("1,250,000.50", 1250000.5), ("12,5", 12.5), ("12.55", 12.55), ("12.500", 12500), ("-5", -5), ("+5", 5),
        ("250.000đ", 250000),
        ("250.000 VNĐ", 250000), ("₫ 5", 5), (7, 7), (7.5, 7.5), ("12.3456789", 12.3456789), (".5", 0.5), ("007", 7), ("12.", 12.0),
    ],
)  # fmt: skip
def test_a_number_is_read_as_people_write_it(text: Any, expected: Any) -> None:
    assert read_number(text) == expected
    assert type(read_number(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0,500", 0.5), ("0.250", 0.25), ("-0,500", -0.5), ("0.250 ₫", 0.25), ("00.500", 0.5), ("0,5", 0.5), ("0.000", 0.0), ("0", 0)],
)
def test_a_leading_zero_is_no_group_of_thousands(text: str, expected: float) -> None:
    assert read_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VND 1,250,000", 1250000), ("1,250,000 VND", 1250000), ("VND1.250.000", 1250000), ("$1,250.00", 1250.0),
        ("€ 1.250,00", 1250.0),
        ("USD 12.5", 12.5), ("-$5", -5), ("$-5", -5), ("VND -1.250.000", -1250000), ("1.250.000 Đ", 1250000),
        ("1.250.000 Ð", 1250000),
        ("1.250.000 đồng", 1250000), ("S$ 12.50", 12.5), ("12 d", 12),
    ],
)  # fmt: skip
def test_a_currency_stands_before_or_behind(text: str, expected: float) -> None:
    assert read_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1,250.00)", -1250.0), ("($1,250.00)", -1250.0), ("$(1,250.00)", -1250.0), ("(1.250.000 ₫)", -1250000),
        ("1.250,00-", -1250.0),
        ("\u22125", -5), ("1'250.00", 1250.0), ("1\u2019250\u2019000.5", 1250000.5), ("1.25E+06", 1250000), ("1,25E+06", 1250000),
        ("1.5e-3", 0.0015), ("-2E3", -2000), ("1\u202f250\u202f000", 1250000), ("1\u00a0250\u00a0000,50 ₫", 1250000.5),
        ("1\u2009250", 1250), ("\ufeff12", 12), ("\uff11\uff12", 12),
    ],
)  # fmt: skip
def test_brackets_apostrophes_exponents_and_narrow_spaces(text: str, expected: float) -> None:
    assert read_number(text) == expected


@pytest.mark.parametrize(
    ("text", "sign", "expected"),
    [
        ("1.250", ".", 1.25), ("1.250", ",", 1250), ("1,250", ",", 1.25), ("1,250", ".", 1250), ("1.250.000", ",", 1250000),
        ("1.250.000", ".", None), ("1,250.00", ",", None), ("1,250.00", ".", 1250.0), ("12,5", ".", None), ("1 250,5", ",", 1250.5),
        ("1 250", ",", 1250), ("1'250", ".", 1250), ("12", ",", 12),
    ],
)  # fmt: skip
def test_a_stated_decimal_sign_decides(text: str, sign: DecimalSign, expected: float | None) -> None:
    assert read_number(text, sign) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "1.2.3", "1.250,000.5", True, None, [], {}, "12 13", "SKU 12", "1,25,000", "12%", "--5", "(-5)", "1e999",
        "0.250.000",
        "01.250.000", "1,250.000.000", "9" * 30, "1" * 16 + ".5", float("nan"), float("inf"), "nan", "inf", "0x10", "1_000",
        ".", ",",
        "-", "()", "₫", "1" * 100,
    ],
)  # fmt: skip
def test_what_is_no_number_or_could_be_two_is_refused(text: Any) -> None:
    assert read_number(text) is None


@given(st.text(max_size=80) | st.text(alphabet="0123456789.,' eE+-()$₫đ\u202f", max_size=20), st.sampled_from([None, ".", ","]))
def test_no_text_makes_it_raise_and_every_answer_is_json(text: str, sign: DecimalSign | None) -> None:
    number = read_number(text, sign)
    assert number is None or orjson.dumps(number)


@given(st.integers(-(10**17), 10**17), st.sampled_from([".", ",", " ", "'", "\u202f"]))
def test_a_whole_number_survives_grouping(number: int, separator: str) -> None:
    assert read_number(f"{number:,}".replace(",", separator), "." if separator == "," else ",") == number


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**64, "\ufdfa" * 64, "1" + "\u2026" * 60])
def test_a_number_of_no_end_and_a_letter_that_stands_for_many_are_refused(value: Any) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize(
    ("text", "expected"), [("D 5", 5), ("dkk 5", 5), ("us$5", 5), ("5 s$", 5), ("5 d.", 5), ("dong 5", 5), ("5đ.", 5)]
)
def test_the_longest_spelling_of_a_currency_counts(text: str, expected: int) -> None:
    assert read_number(text) == expected
