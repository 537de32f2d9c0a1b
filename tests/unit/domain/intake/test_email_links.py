import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.email_links import (MAX_TOKEN_CHARS, EmailLink, key_of, read, sign)

KEY = key_of(b"secret-of-the-tenant")
NOW = 1_750_000_000_000
CLICK = EmailLink("mail-1", ("user_id", "KH-7"), "Tết 2026", NOW + 1, "https://shop.vn/a?b=c&d=%C3%A1#e")


def test_what_was_signed_is_read() -> None:
    opening = EmailLink("mail-1", ("email", "ánh@thu.vn"), "", NOW + 1)
    for link in (CLICK, opening):
        assert read(KEY, sign(KEY, link), NOW) == link
    assert (CLICK.kind, opening.kind) == ("click", "open")


def test_it_ends() -> None:
    token = sign(KEY, CLICK)
    assert read(KEY, token, NOW + 1) == CLICK
    assert read(KEY, token, NOW + 2) is None


def test_no_other_key_made_it() -> None:
    assert read(key_of(b"secret-of-another"), sign(KEY, CLICK), NOW) is None
    assert key_of(b"secret-of-the-tenant") != b"secret-of-the-tenant"


def test_no_changed_letter_passes() -> None:
    token = sign(KEY, CLICK)
    for at, letter in enumerate(token):
        for other in ("A" if letter != "A" else "B", "", ".", "é", " "):
            changed = f"{token[:at]}{other}{token[at + 1 :]}"
            found = read(KEY, changed, NOW)
            # The last digit of base64 has bits that mean nothing.
            assert found is None or found == CLICK
    payload = base64.urlsafe_b64encode(b'[1,"m","user_id","u","c",9999999999999,"https://evil.example/"]').decode().rstrip("=")
    assert read(KEY, f"{payload}.{token.partition('.')[2]}", NOW) is None


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_rubbish_is_no_token(token: str) -> None:
    assert read(KEY, token, NOW) is None


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "//evil.vn/", "/path", "shop.vn", "ftp://shop.vn/", "https://", "https:///x",
        "https://user@shop.vn/", "https://shop.vn\\@evil.vn/", "https://shop.vn/\r\nSet-Cookie: a=b", "https://shop.vn/ a",
        "https://shop.vn/Tết", "http://[::1", "https://shop.vn/" + "a" * 2048,
    ],
)  # fmt: skip
def test_only_whole_web_addresses_are_signed(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        sign(KEY, EmailLink("m", ("user_id", "u"), "", NOW, url))


@pytest.mark.parametrize(
    ("link", "field"),
    [
        (EmailLink("", ("user_id", "u"), "", NOW), "message_id"),
        (EmailLink("m" * 129, ("user_id", "u"), "", NOW), "message_id"),
        (EmailLink("m", ("passport", "u"), "", NOW), "identifier"),
        (EmailLink("m", ("user_id", ""), "", NOW), "identifier"),
        (EmailLink("m", ("user_id", "u"), "c" * 129, NOW), "campaign"),
        (EmailLink("m", ("user_id", "u" * MAX_TOKEN_CHARS), "", NOW), "token"),
    ],
)
def test_a_wrong_field_is_named(link: EmailLink, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        sign(KEY, link)
