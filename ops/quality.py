"""A day's data quality, read from ClickHouse."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from domain.intake.quality_score import EventQuality, QualityParts, by_source
from warehouse import named_queries
from warehouse.client import Warehouse

MAX_HOURS: Final = 20
MAX_VIOLATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class QualityReport:
    """A day's quality, the hours of unusual volume, and the most frequent violations of tracking plans."""

    day: date
    rows: tuple[EventQuality, ...]
    hours: tuple[tuple[Any, ...], ...]
    violations: tuple[tuple[Any, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the answer of `onefold quality --json`: the score of each source, then everything that it comes from."""
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


async def measure_quality(warehouse: Warehouse, day: date, source: str = "") -> QualityReport:
    """Read the quality of a day (UTC), of one source or of all. Raises Transient when ClickHouse does not answer."""
    parameters: dict[str, Any] = {"day": day, "source": source}
    rows = await named_queries.fetch_rows(warehouse, "quality_daily", **parameters)
    hours = await named_queries.fetch_rows(warehouse, "quality_hours", **parameters, limit=MAX_HOURS)
    violations = await named_queries.fetch_rows(warehouse, "quality_violations", source=source, limit=MAX_VIOLATIONS)
    return QualityReport(day, tuple(_quality(row) for row in rows), tuple(hours), tuple(violations))


def _quality(row: tuple[Any, ...]) -> EventQuality:
    *fields, completeness, valid, fresh, uniqueness, volume = row
    return EventQuality(
        QualityParts(completeness=completeness, validity=valid, freshness=fresh, uniqueness=uniqueness, volume=volume), *fields
    )
