"""Take write keys out of bytes that are kept for people: a key is a secret, and analysts can read the quarantine. Pure.

What is decoded loses its field `writeKey` where it is decoded. Here are the bytes that nobody could decode (a body that was cut
off, a query) and texts in which a client has written its key anywhere else.
"""

from typing import Final
from urllib.parse import quote, quote_plus

import re2

MASK: Final = b"***"
_MIN_KEY_CHARS: Final = 6
"""A shorter key, such as one of a test, may be part of any word; it is masked behind its name alone."""


def _bytewise() -> re2.Options:
    """Return options by which a pattern reads single bytes: what cannot be decoded may be no UTF-8."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options


_NAMED_KEY: Final = re2.compile(
    # The name, what JSON or a query writes between name and value, perhaps percent-encoded, and the value.
    rb"""(?i)(writekey(?:["'\\\s]|%2[027]|%5c)*(?:[:=]|%3a|%3d)(?:["'\\\s]|%2[027]|%5c)*)"""
    rb"""(?:[^"'&,}\]\s\\%]|%[013-9a-f][0-9a-f]|%2[013-57-9abd-f])+""",
    _bytewise(),
)


def mask_write_keys(raw: bytes, write_key: str = "") -> bytes:
    """Return the bytes with `***` for the value of every field that is called `writeKey`, and for `write_key` wherever it is."""
    masked: bytes = _NAMED_KEY.sub(rb"\1***", raw)
    if len(write_key) >= _MIN_KEY_CHARS:
        for spelling in {write_key, quote(write_key, safe=""), quote_plus(write_key)}:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                masked = masked.replace(spelling.encode(encoding, "surrogatepass"), MASK.decode().encode(encoding))
    return masked
