"""What the stream layer counts and times."""

from collections import Counter as Counts
from typing import Final

from prometheus_client import Counter, Histogram

_SLICE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LATE_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30)

_SLICES: Final = Counter("onefold_slices", "slices applied", ["agent"])
_RECORDS: Final = Counter("onefold_slice_records", "records of the slices applied", ["agent"])
_SECONDS: Final = Histogram(
    "onefold_slice_seconds", "from taking a slice to its acknowledgement", ["agent"], buckets=_SLICE_BUCKETS
)
_RETRIES: Final = Counter("onefold_slice_retries", "times a slice waited for a store or the broker", ["agent"])
_RESULTS: Final = Counter("onefold_slice_results", "what the slices' records came to", ["agent", "result"])
_LATE: Final = Histogram("onefold_timer_lateness_seconds", "from a timer's instant to its touch", buckets=_LATE_BUCKETS)


def applied(agent: str, records: int, seconds: float) -> None:
    """A slice was applied."""
    _SLICES.labels(agent).inc()
    _RECORDS.labels(agent).inc(records)
    _SECONDS.labels(agent).observe(seconds)


def retried(agent: str) -> None:
    """A slice waits and is tried again."""
    _RETRIES.labels(agent).inc()


def results(agent: str, counts: Counts[str]) -> None:
    """What a slice's records came to."""
    for result, count in counts.items():
        if count:
            _RESULTS.labels(agent, result).inc(count)


def timer_said(late_s: float) -> None:
    """A due timer was said this late."""
    _LATE.observe(late_s)
