"""Limits how many events a source may send: a token bucket for each source, in this process. Time is passed in."""

import math
from dataclasses import dataclass
from typing import Final

_ROUNDING: Final = 1e-6
"""Tokens that may be lost by rounding: without it a bucket that is full by a hair less than one token would refuse an event."""


@dataclass(slots=True)
class _Bucket:
    """The `tokens` at the instant `at_ms`; below zero after a batch that was larger than the bucket."""

    per_second: float
    burst: int
    tokens: float
    at_ms: int


class TokenBuckets:
    """The buckets of all sources. A source whose limit changes gets a new, full bucket."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def consume(self, source: str, per_second: float, burst: int, event_count: int, now_ms: int) -> int:
        """Take `event_count` tokens and return 0; or take none and return how many milliseconds to wait, at least 1.

        A batch that is larger than the bucket is let through when the bucket is full, and leaves a debt: otherwise it could never
        pass. With 0 events no token is taken: the result tells whether one event could pass.
        """
        bucket = self._buckets.get(source)
        if bucket is None or (bucket.per_second, bucket.burst) != (per_second, burst):
            bucket = self._buckets[source] = _Bucket(per_second, burst, float(burst), now_ms)
        # When the clock goes back no tokens are added, and none are taken away.
        elapsed_ms = max(now_ms - bucket.at_ms, 0)
        bucket.tokens = min(bucket.tokens + elapsed_ms * per_second / 1000, float(burst))
        bucket.at_ms = max(now_ms, bucket.at_ms)
        missing_tokens = min(max(event_count, 1), burst) - bucket.tokens
        if missing_tokens > _ROUNDING:
            return max(math.ceil((missing_tokens - _ROUNDING) * 1000 / per_second), 1)
        bucket.tokens -= event_count
        return 0
