import base64
import hashlib
import hmac

import pytest

from collector.twilio_signature import is_signed_by_twilio

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
BODY = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
"""The example of Twilio's documentation, for the token 12345."""


def signature_of(text: str) -> str:
    return base64.b64encode(hmac.new(b"12345", text.encode(), "sha1").digest()).decode()


def test_the_published_example_is_valid() -> None:
    assert is_signed_by_twilio(["12345"], SIGNATURE, URL, BODY)
    assert is_signed_by_twilio(["new", "12345"], SIGNATURE, URL, BODY)


@pytest.mark.parametrize(
    ("secrets", "signature", "url", "body"),
    [
        (["1234"], SIGNATURE, URL, BODY),
        (["12345"], "", URL, BODY),
        (["12345"], "ÿ", URL, BODY),
        (["12345"], SIGNATURE, URL + "&baz=3", BODY),
        (["12345"], SIGNATURE, URL.replace("https", "http"), BODY),
        (["12345"], SIGNATURE, URL, BODY + b"&x=1"),
        (["12345"], SIGNATURE, URL, BODY.replace(b"1234", b"4321")),
        (["12345"], SIGNATURE, URL, b"\xff"),
        (["12345"], SIGNATURE, "https://mycompany.com:port/", BODY),
    ],
)
def test_anything_else_is_not(secrets: list[str], signature: str, url: str, body: bytes) -> None:
    assert not is_signed_by_twilio(secrets, signature, url, body)


def test_the_port_of_the_address_may_be_signed_or_not() -> None:
    signature = signature_of("https://cdp.shop.vn:443/v1/webhook/twilioFrom+84912")
    assert is_signed_by_twilio(["12345"], signature, "https://cdp.shop.vn/v1/webhook/twilio", b"From=%2B84912")
    signature = signature_of("https://cdp.shop.vn/v1/webhook/twilioFrom+84912")
    assert is_signed_by_twilio(["12345"], signature, "https://cdp.shop.vn:443/v1/webhook/twilio", b"From=%2B84912")


def test_a_body_that_is_no_form_is_signed_by_its_hash() -> None:
    body = '{"tên": "Ánh"}'.encode()
    url = f"https://cdp.shop.vn/v1/webhook/twilio?bodySHA256={hashlib.sha256(body).hexdigest()}"
    assert is_signed_by_twilio(["12345"], signature_of(url), url, body)
    assert not is_signed_by_twilio(["12345"], signature_of(url), url, body + b" ")


def test_blank_and_repeated_fields_are_signed_as_twilio_does() -> None:
    signature = signature_of("https://x.vn/ab1b2c")
    assert is_signed_by_twilio(["12345"], signature, "https://x.vn/a", b"c=&b=2&b=1&b=2")
