"""Reading a request's body within bounds of size, time and memory."""

import asyncio
import zlib
from typing import Final

from starlette.requests import ClientDisconnect, Request

from collector.problems import Problem, Refusal

READ_WITHIN_S: Final = 30.0
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_MEMBERS: Final = 64
"""Streams that one gzip body may consist of: each costs a copy of what is left."""
_RATIO: Final = 200
"""Events repeat themselves, and may well be packed to a hundredth. Blanks to a thousandth are no events."""
_UNSUSPICIOUS_BYTES: Final = 256 * 1024
_ENCODINGS: Final = ("", "identity", "gzip", "x-gzip")


class Gate:
    """How much may be under way at once: requests, and bytes of bodies. What is more is refused, so that memory stays bounded."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self.requests = self.bytes = 0

    def enter(self) -> "Pass":
        """A pass, to be left again; raises Refusal when all are taken."""
        if self.requests >= self._max_requests:
            raise Refusal(Problem.BUSY)
        self.requests += 1
        return Pass(self)

    def charge(self, size: int) -> None:
        """Take `size` bytes of what there is; raises Refusal when it is too little."""
        if self.bytes + size > self._max_bytes:
            raise Refusal(Problem.BUSY)
        self.bytes += size


class Pass:
    """One request under way."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self._bytes = gate, 0

    def charge(self, size: int) -> None:
        """Account for `size` more bytes of this request; raises Refusal."""
        self._gate.charge(size)
        self._bytes += size

    def leave(self) -> None:
        """Give everything back."""
        self._gate.requests -= 1
        self._gate.bytes -= self._bytes


async def read(request: Request, most_bytes: int, taken: Pass) -> bytes:
    """The body as sent, at most `most_bytes`; raises Refusal."""
    if request.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise Refusal(Problem.ENCODING)
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most_bytes:
        raise Refusal(Problem.TOO_LARGE)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise Refusal(Problem.TOO_LARGE)
                taken.charge(len(chunk))
                chunks.append(chunk)
    except ClientDisconnect:
        raise Refusal(Problem.CUT_OFF) from None
    except TimeoutError:
        raise Refusal(Problem.SLOW) from None
    return b"".join(chunks)


def unpack(body: bytes, most_bytes: int, taken: Pass) -> bytes | None:
    """The body without gzip, told by its first bytes whatever the headers say; None when it is broken. Raises Refusal.

    Never holds more than `most_bytes` and a little, nor more than what a body of this size may honestly hold.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    honest = max(len(body) * _RATIO, _UNSUSPICIOUS_BYTES)
    parts: list[bytes] = []
    room, rest = min(most_bytes, honest), body
    while rest.startswith(_GZIP_MAGIC):
        if len(parts) == _MEMBERS:
            return None
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = inflater.decompress(rest, room + 1)
        except zlib.error:
            return None
        room -= len(part)
        if room < 0:
            raise Refusal(Problem.RATIO if honest < most_bytes else Problem.TOO_LARGE)
        if not inflater.eof:
            return None
        taken.charge(len(part))
        parts.append(part)
        rest = inflater.unused_data
    return b"".join(parts)
