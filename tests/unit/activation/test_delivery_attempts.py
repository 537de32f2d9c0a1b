"""A message is tried until it is delivered, refused for good, too old, or the process stops."""

import random

import pytest

from activation.delivery_attempts import DeliveryOutcome, deliver_with_retries, next_wait_ms
from activation.port import AttemptResult, Message, Ok, ReceiverGone, Reject, Retry
from domain.definitions.kinds import RetrySpec
from runtime.clock import ManualClock
from runtime.retry import Stopped

MESSAGE = Message("k", b"{}")
SPEC = RetrySpec(max_age_ms=10_000, min_ms=100, max_ms=1_000)


class ScriptedChannel:
    """A channel that gives the listed results one after the other, and then repeats the last one."""

    def __init__(self, *results: AttemptResult) -> None:
        self.results = list(results)
        self.clock = ManualClock()
        self.waits = list[int]()
        self.stopping = False

    async def attempt(self, _: Message) -> AttemptResult:
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def pause(self, wait_ms: int) -> bool:
        self.waits.append(wait_ms)
        self.clock.advance(wait_ms)
        return not self.stopping

    async def deliver(self) -> DeliveryOutcome:
        return await deliver_with_retries(
            MESSAGE, self.attempt, retry=SPEC, clock=self.clock, pause=self.pause, rng=random.Random(1)
        )


async def test_a_delivery_ends_at_the_first_ok() -> None:
    outcome = await ScriptedChannel(Retry(503, "HTTP 503"), Retry(0, "ConnectError"), Ok(204)).deliver()
    assert outcome == DeliveryOutcome("delivered", "due", attempts=3, status=204, detail="")


async def test_reject_and_gone_are_not_tried_again() -> None:
    rejected = await ScriptedChannel(Reject(404, "HTTP 404")).deliver()
    assert rejected == DeliveryOutcome("failed", "rejected", attempts=1, status=404, detail="HTTP 404")
    gone = await ScriptedChannel(ReceiverGone(410, "HTTP 410")).deliver()
    assert gone == DeliveryOutcome("failed", "gone", attempts=1, status=410, detail="HTTP 410")


async def test_retries_end_at_the_age_limit_and_not_before() -> None:
    channel = ScriptedChannel(Retry(503, "HTTP 503"))
    outcome = await channel.deliver()
    assert outcome.state == "failed"
    assert outcome.verdict == "retries_exhausted"
    assert outcome.status == 503
    assert sum(channel.waits) >= SPEC.max_age_ms
    assert max(channel.waits) <= SPEC.max_ms


async def test_a_stop_leaves_the_message_open() -> None:
    channel = ScriptedChannel(Retry(503, "HTTP 503"))
    channel.stopping = True
    with pytest.raises(Stopped):
        await channel.deliver()


def test_a_receiver_gets_the_time_it_asks_for() -> None:
    assert next_wait_ms(Retry(429, "", 7_000), 1, 0, SPEC, random.Random(1)) == 7_000


def test_a_receiver_that_asks_for_more_than_the_messages_age_gets_no_further_attempt() -> None:
    assert next_wait_ms(Retry(429, "", 7_000), 1, 4_000, SPEC, random.Random(1)) is None


def test_the_last_wait_ends_at_the_age_limit() -> None:
    assert next_wait_ms(Retry(503, ""), 20, SPEC.max_age_ms - 1, SPEC, random.Random(1)) == 1
