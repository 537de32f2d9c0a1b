"""What is masked in texts for people, in every script, and what stays readable."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.redaction import MAX_CHARS, REDACTED, escape_controls, without_personal_data

EMAIL = "ánh.nguyễn@cửa-hàng.vn"
FULL_WIDTH = "0912345678".translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
ARABIC = "0912345678".translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})


@pytest.mark.parametrize(
    "personal",
    [
        EMAIL, unicodedata.normalize("NFD", EMAIL), "анна@почта.рф", "an%40shop.vn", "an\uff20shop.vn", "0912345678",
        "+84 912 345 678", "0912\u00a0345\u00a0678", "0912\u2013345\u2013678", "028) 3822 1234", FULL_WIDTH, ARABIC,
        "0912345678901234567890", "4111 1111 1111 1111",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "người gọi: {}", "<{}>", "{}: không có", "{}, {}"])
def test_nothing_personal_is_left_in_any_script(personal: str, frame: str) -> None:
    masked = without_personal_data(frame.replace("{}", personal))
    assert personal not in masked
    assert masked == frame.replace("{}", REDACTED)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("0912345678:443", f"{REDACTED}:443"),
        ("redis://app:s3cret@10.0.0.1:6379", f"redis://app:{REDACTED}@10.0.0.1:6379"),
        ("https://đỗ:mật-khẩu@shop.vn/x", f"https://đỗ:{REDACTED}@shop.vn/x"),
        ("at 2026-11-24 15:59:22 from 192.168.100.200:80", "at 2026-11-24 15:59:22 from 192.168.100.200:80"),
        ("node 4a123456789012 of user1234567890x", "node 4a123456789012 of user1234567890x"),
        ("call 0912345678 at 15:59", f"call {REDACTED} at 15:59"),
        ("Nguyễn Thị Ánh ở Huế", "Nguyễn Thị Ánh ở Huế"),
    ],
)
def test_addresses_of_machines_times_and_words_stay(text: str, masked: str) -> None:
    assert without_personal_data(text) == masked


def test_a_long_text_is_cut_and_says_so() -> None:
    masked = without_personal_data("ê" * (MAX_CHARS + 7))
    assert masked.endswith("… 7 more characters")


@given(st.text(max_size=100))
def test_whatever_the_text_nothing_in_it_steers_a_terminal(text: str) -> None:
    masked = without_personal_data(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in masked)


def test_controls_are_written_out() -> None:
    assert escape_controls("a\x1b[31mb\x07\u202e\u009b\n\tÁnh") == "a\\x1b[31mb\\x07\\u202e\\x9b\n\tÁnh"
