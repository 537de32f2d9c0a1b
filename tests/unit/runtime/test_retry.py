"""Retries are bounded, and only for faults that may pass."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Permanent, StateLost, Transient
from runtime.retry import Backoff, Stopped, backoff_ms, retry, retry_until_stopped


class FaultyCall:
    """A call that raises the given errors one after the other, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 60_000), st.integers())
def test_a_pause_is_never_negative_nor_beyond_its_bounds(attempt: int, base_ms: int, max_ms: int, seed: int) -> None:
    pause = backoff_ms(attempt, base_ms, max_ms, random.Random(seed))
    assert 0 <= pause <= max_ms
    assert pause <= base_ms * 2**attempt


async def test_transient_faults_are_retried_and_reported() -> None:
    reported: list[int] = []
    call = FaultyCall(Transient("away"), Transient("away"))
    assert await retry(call, attempts=3, base_ms=0, on_retry=lambda attempt, _: reported.append(attempt)) == 3
    assert reported == [1, 2]


async def test_without_a_bound_a_call_is_retried_until_it_succeeds() -> None:
    call = FaultyCall(*(Transient("away") for _ in range(200)))
    assert await retry(call, attempts=None, base_ms=0) == 201


async def test_the_last_fault_is_raised_after_all_attempts() -> None:
    call = FaultyCall(*(Transient(f"fault {n}") for n in range(9)))
    with pytest.raises(Transient, match="fault 3"):
        await retry(call, attempts=4, base_ms=0)
    assert call.calls == 4


@pytest.mark.parametrize("error", [Permanent("never"), StateLost("behind"), ValueError("a bug")])
async def test_other_errors_pass_at_once(error: Exception) -> None:
    call = FaultyCall(error)
    with pytest.raises(type(error)):
        await retry(call, attempts=5)
    assert call.calls == 1
    again = FaultyCall(error)
    with pytest.raises(type(error)):
        await retry_until_stopped(again, asyncio.Event())
    assert again.calls == 1


async def test_no_attempt_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts"):
        await retry(FaultyCall(), attempts=0)


class HighestDraw(random.Random):
    """A random source that always draws the upper bound, so that waits can be compared."""

    def randint(self, a: int, b: int) -> int:  # noqa: ARG002 - the signature of Random
        return b


def test_waits_double_up_to_the_bound_and_start_again_after_a_reset() -> None:
    backoff = Backoff(100, 1_000, HighestDraw())
    assert [backoff.next_ms() for _ in range(6)] == [100, 200, 400, 800, 1_000, 1_000]
    backoff.reset()
    assert backoff.next_ms() == 100


async def test_an_event_ends_the_wait_and_the_call_at_once() -> None:
    stop = asyncio.Event()
    call = FaultyCall(*(Transient("away") for _ in range(3)))

    def stop_on_second(attempt: int, _: Transient) -> None:
        if attempt == 2:
            stop.set()

    with pytest.raises(Stopped):
        await asyncio.wait_for(retry_until_stopped(call, stop, base_ms=1, max_ms=1, on_retry=stop_on_second), 10)
    assert call.calls == 2


async def test_a_waiting_retry_is_woken_by_its_event() -> None:
    stop = asyncio.Event()
    call = FaultyCall(Transient("away"))
    waiting = asyncio.create_task(retry_until_stopped(call, stop, base_ms=3_600_000, max_ms=3_600_000, rng=HighestDraw()))
    await asyncio.sleep(0)
    stop.set()
    with pytest.raises(Stopped):
        await asyncio.wait_for(waiting, 10)
    assert call.calls == 1


async def test_a_predicate_is_asked_before_each_wait() -> None:
    answers = [False, False, True]
    call = FaultyCall(*(Transient("away") for _ in range(9)))
    with pytest.raises(Stopped) as stopped:
        await retry_until_stopped(call, lambda: answers.pop(0), base_ms=0)
    assert call.calls == 3
    assert isinstance(stopped.value.__cause__, Transient)


async def test_a_call_is_made_once_even_when_the_caller_is_to_stop_already() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await retry_until_stopped(FaultyCall(), stop) == 1


async def test_progress_between_two_faults_makes_the_later_one_the_first() -> None:
    reported: list[int] = []
    progress = [False, False, True, False]
    call = FaultyCall(*(Transient("away") for _ in range(4)))
    await retry_until_stopped(
        call,
        asyncio.Event(),
        base_ms=0,
        on_retry=lambda attempt, _: reported.append(attempt),
        reset_when=lambda: progress.pop(0),
    )
    assert reported == [1, 2, 1, 2]
