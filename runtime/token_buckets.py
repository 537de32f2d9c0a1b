"""How many events a source may send: a token bucket for each, in this process. Pure but for what it holds."""

import math
from dataclasses import dataclass
from typing import Final

_ROUNDING: Final = 1e-6
"""Tokens that may be lost to the arithmetic of floats."""


@dataclass(slots=True)
class _Bucket:
    """`tokens` as they were at `at_ms`; below zero when a batch larger than the bucket was let through."""

    per_second: float
    burst: int
    tokens: float
    at_ms: int


class TokenBuckets:
    """Buckets by source. A source whose limit changes gets a new, full one."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def consume(self, source: str, per_second: float, burst: int, event_count: int, now_ms: int) -> int:
        """0 when `event_count` may come in now; else how many milliseconds to wait, at least 1, and nothing is taken.

        A batch larger than the bucket may come when the bucket is full, and leaves a debt: it could never come otherwise.
        With 0 events nothing is taken: the answer says whether one event could come.
        """
        bucket = self._buckets.get(source)
        if bucket is None or (bucket.per_second, bucket.burst) != (per_second, burst):
            bucket = self._buckets[source] = _Bucket(per_second, burst, float(burst), now_ms)
        # A clock that goes back gives nothing, and takes nothing away.
        elapsed_ms = max(now_ms - bucket.at_ms, 0)
        bucket.tokens = min(bucket.tokens + elapsed_ms * per_second / 1000, float(burst))
        bucket.at_ms = max(now_ms, bucket.at_ms)
        missing_tokens = min(max(event_count, 1), burst) - bucket.tokens
        if missing_tokens > _ROUNDING:
            return max(math.ceil((missing_tokens - _ROUNDING) * 1000 / per_second), 1)
        bucket.tokens -= event_count
        return 0
