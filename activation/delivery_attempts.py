"""What follows from one attempt: the message has ended, or it waits and is tried again.

Example: a destination has `retry: {max_age_ms: 10000, min_ms: 100, max_ms: 1000}`. The first attempt is answered 503, so the
message waits up to 100 ms; after the second up to 200 ms, and so on up to 1000 ms. After an answer with `Retry-After: 3600` it
waits 1000 ms: a receiver may ask for time, but not for more than the longest wait. After 10 seconds the message ends as failed.
"""

import random
from dataclasses import dataclass
from typing import Final

from activation.port import AttemptResult, Ok, ReceiverGone, Reject, Retry
from domain.definitions.kinds import RetrySpec
from runtime.retry import backoff_ms
from schemas.records import DeliveryState


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a message ended: delivered, failed or skipped, and why. `status` is the last HTTP status, 0 when there was none."""

    state: DeliveryState
    verdict: str
    attempts: int
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """A message that is tried again after `wait_ms`. `status` and `detail` say what the last attempt met."""

    wait_ms: int
    attempts: int
    status: int
    detail: str


def judge_attempt(
    result: AttemptResult, attempts: int, age_ms: int, retry: RetrySpec, rng: random.Random
) -> DeliveryOutcome | Postponed:
    """Return what follows from the attempt with this number, counted from 1. Deterministic for a given `rng`."""
    if not isinstance(result, Retry):
        return _to_outcome(result, attempts)
    wait_ms = next_wait_ms(result, attempts, age_ms, retry, rng)
    if wait_ms is None:
        return DeliveryOutcome("failed", "retries_exhausted", attempts, result.status, result.detail)
    return Postponed(wait_ms, attempts, result.status, result.detail)


def next_wait_ms(result: Retry, attempts: int, age_ms: int, retry: RetrySpec, rng: random.Random) -> int | None:
    """Return the wait before the next attempt in ms; None when the message's age has reached its limit.

    A receiver that asks for more time gets it, up to the longest wait. The last wait ends at the age limit.
    """
    remaining_ms = retry.max_age_ms - age_ms
    if remaining_ms <= 0:
        return None
    requested_ms = min(result.after_ms or 0, retry.max_ms)
    return max(min(max(requested_ms, backoff_ms(attempts - 1, retry.min_ms, retry.max_ms, rng)), remaining_ms), 1)


_VERDICTS: Final = {Reject: "rejected", ReceiverGone: "gone"}


def _to_outcome(result: Ok | Reject | ReceiverGone, attempts: int) -> DeliveryOutcome:
    if isinstance(result, Ok):
        return DeliveryOutcome("delivered", "due", attempts, result.status, "")
    return DeliveryOutcome("failed", _VERDICTS[type(result)], attempts, result.status, result.detail)
