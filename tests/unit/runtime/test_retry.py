"""Retries are bounded, and only for what may pass."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Permanent, StateLost, Transient
from runtime.retry import backoff_ms, retry


class FaultyCall:
    """Raises the given errors one after the other, then answers."""

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


@pytest.mark.parametrize("error", [Transient("away"), StateLost("behind")])
async def test_transient_faults_are_retried_and_reported(error: Transient) -> None:
    told: list[int] = []
    call = FaultyCall(error, error)
    assert await retry(call, attempts=3, base_ms=0, on_retry=lambda attempt, _: told.append(attempt)) == 3
    assert told == [1, 2]


async def test_the_last_fault_is_raised_after_all_attempts() -> None:
    call = FaultyCall(*(Transient(f"fault {n}") for n in range(9)))
    with pytest.raises(Transient, match="fault 3"):
        await retry(call, attempts=4, base_ms=0)
    assert call.calls == 4


@pytest.mark.parametrize("error", [Permanent("never"), ValueError("a bug")])
async def test_other_errors_pass_at_once(error: Exception) -> None:
    call = FaultyCall(error)
    with pytest.raises(type(error)):
        await retry(call, attempts=5)
    assert call.calls == 1


async def test_no_attempt_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts"):
        await retry(FaultyCall(), attempts=0)
