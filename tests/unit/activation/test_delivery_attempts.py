"""A message is tried until it is delivered, refused for good, or too old."""

import random

import pytest

from activation.delivery_attempts import DeliveryOutcome, Postponed, judge_attempt, next_wait_ms
from activation.port import AttemptResult, Ok, ReceiverGone, Reject, Retry
from domain.definitions.kinds import RetrySpec

SPEC = RetrySpec(max_age_ms=10_000, min_ms=100, max_ms=1_000)
HOUR_MS = 3_600_000


def judge(result: AttemptResult, attempts: int = 1, age_ms: int = 0) -> DeliveryOutcome | Postponed:
    return judge_attempt(result, attempts, age_ms, SPEC, random.Random(1))


def test_a_delivery_ends_at_the_first_ok() -> None:
    assert judge(Ok(204), attempts=3) == DeliveryOutcome("delivered", "due", attempts=3, status=204, detail="")


def test_reject_and_gone_are_not_tried_again() -> None:
    assert judge(Reject(422, "HTTP 422")) == DeliveryOutcome("failed", "rejected", attempts=1, status=422, detail="HTTP 422")
    assert judge(ReceiverGone(410, "HTTP 410")) == DeliveryOutcome("failed", "gone", attempts=1, status=410, detail="HTTP 410")


def test_retries_end_at_the_age_limit_and_not_before() -> None:
    age_ms, attempts, waits = 0, 1, list[int]()
    while isinstance(judged := judge(Retry(503, "HTTP 503"), attempts, age_ms), Postponed):
        waits.append(judged.wait_ms)
        age_ms += judged.wait_ms
        attempts += 1
    assert judged == DeliveryOutcome("failed", "retries_exhausted", attempts=attempts, status=503, detail="HTTP 503")
    assert age_ms == SPEC.max_age_ms
    assert max(waits) <= SPEC.max_ms


def test_by_default_a_message_is_tried_for_72_hours() -> None:
    rng = random.Random(1)
    assert isinstance(judge_attempt(Retry(404, ""), 900, 72 * HOUR_MS - 1, RetrySpec(), rng), Postponed)
    assert isinstance(judge_attempt(Retry(404, ""), 900, 72 * HOUR_MS, RetrySpec(), rng), DeliveryOutcome)


def test_a_receiver_gets_the_time_it_asks_for() -> None:
    assert next_wait_ms(Retry(429, "", 700), 1, 0, SPEC, random.Random(1)) == 700


@pytest.mark.parametrize("after_ms", [1_001, HOUR_MS, 10**12])
def test_a_receiver_gets_no_more_than_the_longest_wait(after_ms: int) -> None:
    assert next_wait_ms(Retry(503, "", after_ms), 1, 0, SPEC, random.Random(1)) == SPEC.max_ms


def test_the_last_wait_ends_at_the_age_limit() -> None:
    assert next_wait_ms(Retry(503, "", 700), 20, SPEC.max_age_ms - 1, SPEC, random.Random(1)) == 1
