"""Attempts to deliver one message, with full jitter between them, until the receiver has it or its age reaches the limit."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from activation.port import AttemptResult, Message, Ok, ReceiverGone, Reject, Retry
from domain.definitions.kinds import RetrySpec
from runtime.clock import Clock
from runtime.retry import Stopped, backoff_ms
from schemas.records import DeliveryState

Attempt = Callable[[Message], Awaitable[AttemptResult]]
Pause = Callable[[int], Awaitable[bool]]
"""Waits that many milliseconds; returns false when the process is to stop first."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a message ended: delivered, failed or skipped, and why. `status` is the last HTTP status, 0 when there was none."""

    state: DeliveryState
    verdict: str
    attempts: int
    status: int
    detail: str


async def deliver_with_retries(
    message: Message, attempt: Attempt, *, retry: RetrySpec, clock: Clock, pause: Pause, rng: random.Random
) -> DeliveryOutcome:
    """Return how the message ended. Raises Stopped when the process is to stop between two attempts.

    The message's age counts from the first attempt of this process: the instant of an attempt before a crash is not stored.
    """
    started_ms, attempts = clock.now_ms(), 0
    while True:
        result = await attempt(message)
        attempts += 1
        if not isinstance(result, Retry):
            return _to_outcome(result, attempts)
        wait_ms = next_wait_ms(result, attempts, clock.now_ms() - started_ms, retry, rng)
        if wait_ms is None:
            return DeliveryOutcome("failed", "retries_exhausted", attempts, result.status, result.detail)
        if not await pause(wait_ms):
            raise Stopped("the process ends before the message has")


def next_wait_ms(result: Retry, attempts: int, age_ms: int, retry: RetrySpec, rng: random.Random) -> int | None:
    """Return the wait before the next attempt in ms; None when there is to be no further one. Deterministic for a given `rng`.

    A receiver that asks for more time gets it. If it asks for more than the message's age allows, there is no further attempt:
    an earlier one would only disobey it.
    """
    remaining_ms = retry.max_age_ms - age_ms
    requested_ms = result.after_ms or 0
    if remaining_ms <= 0 or requested_ms > remaining_ms:
        return None
    return max(requested_ms, min(backoff_ms(attempts - 1, retry.min_ms, retry.max_ms, rng), remaining_ms), 1)


_VERDICTS: Final = {Reject: "rejected", ReceiverGone: "gone"}


def _to_outcome(result: Ok | Reject | ReceiverGone, attempts: int) -> DeliveryOutcome:
    if isinstance(result, Ok):
        return DeliveryOutcome("delivered", "due", attempts, result.status, "")
    return DeliveryOutcome("failed", _VERDICTS[type(result)], attempts, result.status, result.detail)
