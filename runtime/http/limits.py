"""The limits that every HTTP port has, on sizes, times and connections, and the answers of a port to those who exceed them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Self

from runtime.settings import Settings

ANSWER_HEADERS: Final = (("X-Content-Type-Options", "nosniff"),)
"""Headers of every answer: a browser must not take what somebody sent, and what an answer repeats, for a page or a script."""
MAX_FRAMING_FACTOR: Final = 8
"""How many bytes on the wire one byte of a body may take: a chunk of one byte takes six."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client may take of a port.

    The headers of a request must be whole `headers_timeout_s` after its first byte, or after the connection was opened. A body must
    be whole `body_timeout_s` after the headers, plus the time that the bytes that came take at `min_body_bytes_per_s`: a large body
    gets more time, a trickling one does not. A connection without a request is closed after `idle_timeout_s`, and one whose client
    does not read on in its answer (16 KiB of what waits for it) after `write_timeout_s`.

    `max_unproven_per_peer` bounds the connections of one address on which no request with a valid key is in progress
    (`runtime/http/connections.py`).
    """

    max_header_bytes: int
    max_body_bytes: int
    headers_timeout_s: float
    body_timeout_s: float
    idle_timeout_s: float
    write_timeout_s: float
    max_connections: int
    max_unproven_per_peer: int
    min_body_bytes_per_s: int = 64 * 1024

    @classmethod
    def of(cls, settings: Settings, *, max_header_bytes: int, max_body_bytes: int) -> Self:
        """Return the limits that the settings give every port, with the sizes of this one."""
        return cls(
            max_header_bytes=max_header_bytes,
            max_body_bytes=max_body_bytes,
            headers_timeout_s=settings.http_headers_timeout_ms / 1000,
            body_timeout_s=settings.http_body_timeout_ms / 1000,
            idle_timeout_s=settings.http_idle_timeout_ms / 1000,
            write_timeout_s=settings.http_write_timeout_ms / 1000,
            max_connections=settings.http_max_connections,
            max_unproven_per_peer=settings.http_max_unproven_per_peer,
        )

    @property
    def max_message_bytes(self) -> int:
        """The most bytes of one request on the wire."""
        return self.max_header_bytes + self.max_body_bytes * MAX_FRAMING_FACTOR


class RefusalAnswer(NamedTuple):
    """The status of a refusal, a word for programs, and a sentence for people."""

    status: int
    code: str
    message: str


class Refusal(Enum):
    """Why a port refuses a request before any application sees it whole."""

    INVALID = RefusalAnswer(400, "invalid_http", "This is not an HTTP request.")
    HEADERS = RefusalAnswer(431, "headers_too_large", "The address and the headers are over the limit.")
    TOO_LARGE = RefusalAnswer(413, "too_large", "The body is over the limit.")
    SLOW = RefusalAnswer(408, "body_timeout", "The body did not arrive in time: send it again.")
    BUSY = RefusalAnswer(503, "overloaded", "Too many connections are open: send it again.")


RenderRefusal = Callable[[Refusal], bytes]
"""Returns the JSON body of a refusal, in the form of the port's other answers."""


def render_error(refusal: Refusal) -> bytes:
    """Return `{"error": {"reason", "message"}}`, the form of the API."""
    return json.dumps({"error": {"reason": refusal.value.code, "message": refusal.value.message}}).encode()
