"""What activation asks of a channel: deliver one message, and say in one of four words what came of it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `key` names it for ever: the same on every attempt; so is `body`, UTF-8 JSON."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Ok:
    """The receiver has it."""

    status: int


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later, not before `after_ms` if the receiver said so. `detail` holds no personal data."""

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
    """The receiver says that nobody listens at this address any more."""

    status: int
    detail: str


AttemptResult = Ok | Retry | Reject | ReceiverGone


class Channel(Protocol):
    """A channel, ready to be used by many tasks at once."""

    async def deliver(self, message: Message) -> AttemptResult:
        """One attempt, bounded in time. Never raises for what the receiver or the network does."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
