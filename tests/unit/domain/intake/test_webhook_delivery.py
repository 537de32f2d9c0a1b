import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.values import Unparsable
from domain.intake.webhook_delivery import MAX_FORM_FIELDS, decode_payload


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (b"CallSid=CA1&From=%2B84912345678", {"CallSid": "CA1", "From": "+84912345678"}),
        ("Ghi+ch%C3%BA=Kh%C3%A1ch+h%E1%BB%8Fi&t%C3%AAn=Ánh".encode(), {"Ghi chú": "Khách hỏi", "tên": "Ánh"}),
        (b"a=1&b=&c", {"a": "1", "b": None, "c": None}),
        (b"a=1&a=2&a=", {"a": ["1", "2", None]}),
        (b"items[0]=x&items[1]=y", {"items[0]": "x", "items[1]": "y"}),
        (b"\xef\xbb\xbfa=1\r\n", {"a": "1"}),
        (b'{"a": 1}', {"a": 1}),
        (b'  ["a=b"]', ["a=b"]),
        (b"12", 12),
        (b"a=%F0%9F%8C%B8", {"a": "\U0001f338"}),
    ],
)
def test_a_body_is_json_or_a_form(content: bytes, payload: Any) -> None:
    decoded, json_content = decode_payload(content)
    assert decoded == payload
    assert json.loads(json_content.decode("utf-8-sig")) == payload


@pytest.mark.parametrize(
    "content",
    [
        b"", b" ", b"{no", b'{"a": "b=c"', b"<Response a='1'/>", b"=1", b"&a=1", b"hello", b"a=%FF", b"a=\xff", b'"a=b',
        b"&".join(b"a%d=1" % n for n in range(MAX_FORM_FIELDS + 1)),
    ],
)  # fmt: skip
def test_a_body_that_is_neither_is_refused(content: bytes) -> None:
    with pytest.raises(Unparsable):
        decode_payload(content)


@given(st.binary(max_size=200) | st.text(alphabet='ab=&%+[]{}"<> 019', max_size=60).map(str.encode))
def test_no_bytes_make_it_raise_anything_else(content: bytes) -> None:
    try:
        payload, json_content = decode_payload(content)
    except Unparsable:
        return
    if json_content != content:
        assert json.loads(json_content) == payload
