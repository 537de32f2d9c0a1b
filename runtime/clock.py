"""Time is injected: this is the only place that reads the machine's clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time in whole milliseconds since the Unix epoch, UTC."""

    def now_ms(self) -> int:
        """Return the present instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when `advance` is called; for tests and replays."""

    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, by_ms: int) -> None:
        """Move forward by `by_ms` (not negative)."""
        if by_ms < 0:
            raise ValueError(f"by_ms is {by_ms}: a clock does not go back")
        self._now_ms += by_ms
