import random
from collections.abc import Iterable

from activation.delivery_attempts import deliver_with_retries, next_wait_ms
from activation.port import AttemptResult, Message, Ok, ReceiverGone, Reject, Retry
from domain.definitions.kinds import RetrySpec
from runtime.clock import ManualClock

MESSAGE = Message("k", b"{}")
SPEC = RetrySpec(max_age_ms=10_000, min_ms=100, max_ms=1_000)


class ScriptedChannel:
    def __init__(self, results: Iterable[AttemptResult]) -> None:
        self.results, self.clock, self.waits, self.stopping = list(results), ManualClock(), list[int](), False

    async def attempt(self, _: Message) -> AttemptResult:
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def pause(self, wait_ms: int) -> bool:
        self.waits.append(wait_ms)
        self.clock.advance(wait_ms)
        return not self.stopping


async def ended(*results: AttemptResult) -> tuple[str, str, int, int]:
    channel = ScriptedChannel(results)
    end = await deliver_with_retries(MESSAGE, channel.attempt, SPEC, channel.clock, channel.pause, random.Random(1))
    assert end is not None
    return end.state, end.verdict, end.attempts, end.status


async def test_a_delivery_ends_at_the_first_ok() -> None:
    assert await ended(Retry(503, "HTTP 503"), Retry(0, "ConnectError"), Ok(204)) == ("delivered", "due", 3, 204)


async def test_reject_and_gone_are_not_tried_again() -> None:
    assert await ended(Reject(404, "HTTP 404")) == ("failed", "rejected", 1, 404)
    assert await ended(ReceiverGone(410, "HTTP 410")) == ("failed", "gone", 1, 410)


async def test_retries_end_at_the_age_limit_and_not_before() -> None:
    channel = ScriptedChannel([Retry(503, "HTTP 503")])
    end = await deliver_with_retries(MESSAGE, channel.attempt, SPEC, channel.clock, channel.pause, random.Random(1))
    assert end is not None
    assert (end.state, end.verdict, end.status) == ("failed", "retries_exhausted", 503)
    assert sum(channel.waits) >= SPEC.max_age_ms
    assert max(channel.waits) <= SPEC.max_ms


async def test_a_stop_leaves_the_message_open() -> None:
    channel = ScriptedChannel([Retry(503, "HTTP 503")])
    channel.stopping = True
    assert await deliver_with_retries(MESSAGE, channel.attempt, SPEC, channel.clock, channel.pause, random.Random(1)) is None


def test_a_receiver_gets_the_time_it_asks_for() -> None:
    assert next_wait_ms(Retry(429, "", 7_000), 1, 0, SPEC, random.Random(1)) == 7_000


def test_retry_waits_for_the_receivers_retry_after() -> None:
    assert next_wait_ms(Retry(429, "", 7_000), 1, 4_000, SPEC, random.Random(1)) is None


def test_the_last_wait_ends_at_the_age_limit() -> None:
    assert next_wait_ms(Retry(503, ""), 20, SPEC.max_age_ms - 1, SPEC, random.Random(1)) == 1
