"""Data quality: one score out of five parts, by source and event. docs/data-quality.md says what it means."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from warehouse import named_queries
from warehouse.client import Warehouse

WEIGHTS: Final[Mapping[str, int]] = {"validity": 40, "completeness": 25, "volume": 15, "freshness": 10, "uniqueness": 10}
FRESH_MS: Final = 60_000
STALE_MS: Final = 86_400_000
MAX_HOURS: Final = 20
MAX_VIOLATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class QualityParts:
    """Each from 0 (bad) to 1 (good), None when nothing can be said of it."""

    completeness: float | None
    validity: float | None
    freshness: float | None
    uniqueness: float | None
    volume: float | None


@dataclass(frozen=True, slots=True)
class EventQuality:
    """One event of one source on one day."""

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
        """Of all parts."""
        return score(self.parts)


@dataclass(frozen=True, slots=True)
class QualityReport:
    """A day's quality, the hours of unusual volume, and what is most often not as planned."""

    day: date
    rows: tuple[EventQuality, ...]
    hours: tuple[tuple[Any, ...], ...]
    violations: tuple[tuple[Any, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """For `--json`: the score of each source, then everything that it comes from."""
        return {
            "day": self.day.isoformat(),
            "sources": by_source(self.rows),
            "events": [_flat(row) for row in self.rows],
            "hours": [dict(zip(("source", "event", "hour_ms", "events", "usual", "z"), hour, strict=True)) for hour in self.hours],
            "violations": [
                dict(
                    zip(
                        ("source", "event", "path", "rule", "kind", "events", "blocked", "last_seen_ms", "sample"), row, strict=True
                    )
                )
                for row in self.violations
            ],
        }


def _flat(row: EventQuality) -> dict[str, Any]:
    fields = asdict(row)
    parts = fields.pop("parts")
    return {**fields, **parts, "score": row.score}


def score(parts: QualityParts) -> float | None:
    """0 to 100: the weighted mean of the parts that are known; None when none is. No part can raise it by getting worse."""
    weighted_parts = [(weight, value) for name, weight in WEIGHTS.items() if (value := getattr(parts, name)) is not None]
    return (
        100 * sum(weight * value for weight, value in weighted_parts) / sum(weight for weight, _ in weighted_parts)
        if weighted_parts
        else None
    )


def freshness(p95_ms: float) -> float:
    """1 when 19 of 20 events are received within a minute of their time, 0 when they take a day, by the logarithm in between."""
    if p95_ms <= FRESH_MS:
        return 1.0
    return 1 - min(math.log(p95_ms / FRESH_MS) / math.log(STALE_MS / FRESH_MS), 1)


def validity(stored: int, violating: int, quarantined: int) -> float | None:
    """The share of what was sent that was stored without a violation."""
    sent = stored + quarantined
    return (stored - violating) / sent if sent else None


def by_source(rows: Iterable[EventQuality]) -> dict[str, float]:
    """The score of each source: the mean of its events' scores, each as often as it was sent."""
    sums: dict[str, tuple[float, int]] = {}
    for row in rows:
        if (event_score := row.score) is not None:
            weight = max(row.events + row.quarantined, 1)
            total, count = sums.get(row.source, (0.0, 0))
            sums[row.source] = (total + event_score * weight, count + weight)
    return {source: total / count for source, (total, count) in sorted(sums.items())}


async def measure_quality(warehouse: Warehouse, day: date, source: str = "") -> QualityReport:
    """A day's quality (UTC), of one source or of all."""
    parameters: dict[str, Any] = {"day": day, "source": source}
    rows = await named_queries.fetch_rows(warehouse, "quality_daily", **parameters)
    hours = await named_queries.fetch_rows(warehouse, "quality_hours", **parameters, limit=MAX_HOURS)
    violations = await named_queries.fetch_rows(warehouse, "quality_violations", source=source, limit=MAX_VIOLATIONS)
    return QualityReport(day, tuple(_quality(row) for row in rows), tuple(hours), tuple(violations))


def _quality(row: tuple[Any, ...]) -> EventQuality:
    *fields, completeness, valid, fresh, uniqueness, volume = row
    return EventQuality(QualityParts(completeness, valid, fresh, uniqueness, volume), *fields)
