"""Reading a request's body within bounds of size, time and memory."""

import asyncio
import zlib
from typing import Final

from starlette.requests import ClientDisconnect, Request

from collector.problems import Problem, RequestRefused

READ_TIMEOUT_S: Final = 30.0
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_MAX_GZIP_MEMBERS: Final = 64
"""Streams that one gzip body may consist of: each costs a copy of what is left."""
_MAX_COMPRESSION_RATIO: Final = 200
"""Events repeat themselves, and may well be packed to a hundredth. Blanks to a thousandth are no events."""
_ALWAYS_ALLOWED_BYTES: Final = 256 * 1024
_ENCODINGS: Final = ("", "identity", "gzip", "x-gzip")


class ConcurrencyLimiter:
    """How much may be under way at once: requests, and bytes of bodies. What is more is refused, so that memory stays bounded."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self.active_requests = self.reserved_bytes = 0

    def acquire(self) -> "Permit":
        """A pass, to be left again; raises Refusal when all are taken."""
        if self.active_requests >= self._max_requests:
            raise RequestRefused(Problem.BUSY)
        self.active_requests += 1
        return Permit(self)

    def reserve_bytes(self, size: int) -> None:
        """Take `size` bytes of what there is; raises Refusal when it is too little."""
        if self.reserved_bytes + size > self._max_bytes:
            raise RequestRefused(Problem.BUSY)
        self.reserved_bytes += size


class Permit:
    """One request under way."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter, self._reserved_bytes = limiter, 0

    def reserve_bytes(self, size: int) -> None:
        """Account for `size` more bytes of this request; raises Refusal."""
        self._limiter.reserve_bytes(size)
        self._reserved_bytes += size

    def release(self) -> None:
        """Give everything back."""
        self._limiter.active_requests -= 1
        self._limiter.reserved_bytes -= self._reserved_bytes


async def read_body(request: Request, max_bytes: int, permit: Permit) -> bytes:
    """The body as sent, at most `max_bytes`; raises Refusal."""
    if request.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise RequestRefused(Problem.ENCODING)
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise RequestRefused(Problem.TOO_LARGE)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise RequestRefused(Problem.TOO_LARGE)
                permit.reserve_bytes(len(chunk))
                chunks.append(chunk)
    except ClientDisconnect:
        raise RequestRefused(Problem.CUT_OFF) from None
    except TimeoutError:
        raise RequestRefused(Problem.SLOW) from None
    return b"".join(chunks)


def decompress_gzip(body: bytes, max_bytes: int, permit: Permit) -> bytes | None:
    """The body without gzip, told by its first bytes whatever the headers say; None when it is broken. Raises Refusal.

    Never holds more than `max_bytes` and a little, nor more than what a body of this size may honestly hold.
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
