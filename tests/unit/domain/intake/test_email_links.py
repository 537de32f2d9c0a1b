import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.email_links import MAX_TOKEN_CHARS, EmailLink, derive_key, sign, verify

KEY = derive_key(b"secret-of-the-tenant")
NOW_MS = 1_750_000_000_000
CLICK = EmailLink("mail-1", ("user_id", "KH-7"), "Tết 2026", NOW_MS + 1, "https://shop.vn/a?b=c&d=%C3%A1#e")


def test_what_was_signed_is_read() -> None:
    opening = EmailLink("mail-1", ("email", "ánh@thu.vn"), "", NOW_MS + 1)
    for link in (CLICK, opening):
        assert verify(KEY, sign(KEY, link), NOW_MS) == link
    assert CLICK.kind == "click"
    assert opening.kind == "open"


def test_signed_link_expires() -> None:
    token = sign(KEY, CLICK)
    assert verify(KEY, token, NOW_MS + 1) == CLICK
    assert verify(KEY, token, NOW_MS + 2) is None


def test_link_signed_with_another_key_is_refused() -> None:
    assert verify(derive_key(b"secret-of-another"), sign(KEY, CLICK), NOW_MS) is None
    assert derive_key(b"secret-of-the-tenant") != b"secret-of-the-tenant"


def test_no_changed_letter_passes() -> None:
    token = sign(KEY, CLICK)
    for at, letter in enumerate(token):
        for other in ("A" if letter != "A" else "B", "", ".", "é", " "):
            changed = f"{token[:at]}{other}{token[at + 1 :]}"
            found = verify(KEY, changed, NOW_MS)
            # The last digit of base64 has bits that mean nothing.
            assert found is None or found == CLICK
    payload = base64.urlsafe_b64encode(b'[1,"m","user_id","u","c",9999999999999,"https://evil.example/"]').decode().rstrip("=")
    assert verify(KEY, f"{payload}.{token.partition('.')[2]}", NOW_MS) is None


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_malformed_token_is_refused(token: str) -> None:
    assert verify(KEY, token, NOW_MS) is None


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
        sign(KEY, EmailLink("m", ("user_id", "u"), "", NOW_MS, url))


@pytest.mark.parametrize(
    ("link", "field"),
    [
        (EmailLink("", ("user_id", "u"), "", NOW_MS), "message_id"),
        (EmailLink("m" * 129, ("user_id", "u"), "", NOW_MS), "message_id"),
        (EmailLink("m", ("Passport No", "u"), "", NOW_MS), "identifier"),
        (EmailLink("m", ("user_id", ""), "", NOW_MS), "identifier"),
        (EmailLink("m", ("user_id", "u"), "c" * 129, NOW_MS), "campaign"),
        (EmailLink("m", ("user_id", "u" * MAX_TOKEN_CHARS), "", NOW_MS), "token"),
    ],
)
def test_a_wrong_field_is_named(link: EmailLink, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        sign(KEY, link)
