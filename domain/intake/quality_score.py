"""The score of data quality: five parts, each from 0 to 1, weighted into one number from 0 to 100. Pure.

docs/data-quality.md explains the parts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

WEIGHTS: Final[Mapping[str, int]] = {"validity": 40, "completeness": 25, "volume": 15, "freshness": 10, "uniqueness": 10}
FRESH_MS: Final = 60_000
STALE_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class QualityParts:
    """The parts of a score, each from 0 (bad) to 1 (good), and None when there is nothing to measure it by."""

    completeness: float | None
    validity: float | None
    freshness: float | None
    uniqueness: float | None
    volume: float | None


@dataclass(frozen=True, slots=True)
class EventQuality:
    """The quality of one event of one source on one day, with the counts that it comes from."""

    parts: QualityParts
    source: str
    event: str
    events: int
    quarantined: int
    violating: int
    bots: int
    duplicates: int
    freshness_p50_ms: float
    freshness_p95_ms: float
    last_seen_ms: int

    @property
    def score(self) -> float | None:
        """The weighted score of all parts."""
        return score(self.parts)


def score(parts: QualityParts) -> float | None:
    """Return the weighted mean of the parts that are not None, from 0 to 100, or None when all are.

    A part that gets worse never raises the score.
    """
    weighted_parts = [(weight, value) for name, weight in WEIGHTS.items() if (value := getattr(parts, name)) is not None]
    return (
        100 * sum(weight * value for weight, value in weighted_parts) / sum(weight for weight, _ in weighted_parts)
        if weighted_parts
        else None
    )


def freshness(p95_ms: float) -> float:
    """Return 1 when 19 of 20 events arrive within a minute of their time, 0 when they take a day, on a logarithmic scale."""
    if p95_ms <= FRESH_MS:
        return 1.0
    return 1 - min(math.log(p95_ms / FRESH_MS) / math.log(STALE_MS / FRESH_MS), 1)


def validity(stored: int, violating: int, quarantined: int) -> float | None:
    """Return the share of the sent events that were stored without a violation of the tracking plan; None when none was sent."""
    sent = stored + quarantined
    return (stored - violating) / sent if sent else None


def by_source(rows: Iterable[EventQuality]) -> dict[str, float]:
    """Return the score of each source: the mean of its events' scores, weighted by how often each event was sent."""
    sums: dict[str, tuple[float, int]] = {}
    for row in rows:
        if (event_score := row.score) is not None:
            weight = max(row.events + row.quarantined, 1)
            total, count = sums.get(row.source, (0.0, 0))
            sums[row.source] = (total + event_score * weight, count + weight)
    return {source: total / count for source, (total, count) in sorted(sums.items())}
