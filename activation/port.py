"""What activation asks of a channel: deliver one message, and return one of four results."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send. `key`, the idempotency key, and `body`, UTF-8 JSON, are the same on every attempt, also after a crash."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Ok:
    """The receiver has it."""

    status: int


@dataclass(frozen=True, slots=True)
class Retry:
    """A later attempt may work, at the earliest after `after_ms` if the receiver asked for that. `detail` has no personal data."""

    status: int
    detail: str
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """The receiver will never take this message."""

    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class ReceiverGone:
    """The receiver says that this address is no longer served (HTTP 410)."""

    status: int
    detail: str


AttemptResult = Ok | Retry | Reject | ReceiverGone


class Channel(Protocol):
    """A channel, ready to be used by many tasks at once."""

    async def deliver(self, message: Message) -> AttemptResult:
        """Make one attempt, bounded in time. Never raises for what the receiver or the network does."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
