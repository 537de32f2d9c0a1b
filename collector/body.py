"""Read and decode a request's body within bounds of size and memory. The port bounds the time (`runtime/http`)."""

import zlib
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from collector.permits import Permit
from collector.problems import Problem, RequestRefused
from domain.intake.rejection import BodyProblem
from domain.intake.values import Unparsable, loads

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_MAX_GZIP_MEMBERS: Final = 64
"""How many gzip streams one body may consist of: each one costs a copy of the bytes behind it."""
_MAX_COMPRESSION_RATIO: Final = 200
"""Events repeat themselves and may well compress to a hundredth. Only blanks compress to a thousandth."""
_ALWAYS_ALLOWED_BYTES: Final = 256 * 1024
_ENCODINGS: Final = ("", "identity", "gzip", "x-gzip")


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """A decoded JSON value, and the uncompressed bytes that it was decoded from."""

    value: Any
    content: bytes


async def read_body(request: Request, max_bytes: int, permit: Permit) -> bytes:
    """Return the body as it was sent, at most `max_bytes`. Raises RequestRefused."""
    if request.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise RequestRefused(Problem.ENCODING)
    # A declared length saves reading a body that is too large; it is not trusted further, since chunked bodies have none.
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise RequestRefused(Problem.TOO_LARGE)
    permit.enter()
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise RequestRefused(Problem.TOO_LARGE)
            permit.reserve_bytes(len(chunk))
            chunks.append(chunk)
    except ClientDisconnect:  # the client has closed the connection, or the port has, because the body was late
        raise RequestRefused(Problem.CUT_OFF) from None
    return b"".join(chunks)


def decode_body(raw: bytes, max_bytes: int, permit: Permit) -> DecodedBody | BodyProblem:
    """Return the JSON value of a body, gzipped or not; UNPARSABLE when it is neither. Raises RequestRefused for its size."""
    content = decompress_gzip(raw, max_bytes, permit)
    if content is None:
        return BodyProblem.UNPARSABLE
    try:
        return DecodedBody(loads(content), content)
    except Unparsable:
        return BodyProblem.UNPARSABLE


def decompress_gzip(body: bytes, max_bytes: int, permit: Permit) -> bytes | None:
    """Return the body without gzip, None when it is broken. Raises RequestRefused when it decompresses to too much.

    The first bytes decide whether it is gzip, because clients send the wrong header. Memory never holds more than `max_bytes`, nor
    more than what a body of this size can honestly decompress to, plus one byte.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    plausible_bytes = max(len(body) * _MAX_COMPRESSION_RATIO, _ALWAYS_ALLOWED_BYTES)
    parts: list[bytes] = []
    remaining_bytes, remaining = min(max_bytes, plausible_bytes), body
    while remaining.startswith(_GZIP_MAGIC):
        if len(parts) == _MAX_GZIP_MEMBERS:
            return None
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            # One byte more than is allowed shows that the body is too large without decompressing the rest of it.
            part = inflater.decompress(remaining, remaining_bytes + 1)
        except zlib.error:
            return None
        remaining_bytes -= len(part)
        if remaining_bytes < 0:
            raise RequestRefused(Problem.RATIO if plausible_bytes < max_bytes else Problem.TOO_LARGE)
        if not inflater.eof:
            return None
        permit.reserve_bytes(len(part))
        parts.append(part)
        remaining = inflater.unused_data
    return b"".join(parts)
