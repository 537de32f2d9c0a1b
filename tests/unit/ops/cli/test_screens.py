"""What commands print fits into 80 columns, and says so when there is nothing."""

import io
from datetime import date

from rich.console import Console

from domain.intake.quality_score import EventQuality, QualityParts
from ops.cli import identity_answers
from ops.cli.quality import report_tables
from ops.cli.verify import comparison_lines
from ops.quality import QualityReport
from ops.rebuild.compare_stores import StoreComparison

LONG = "đơn-hàng-" * 12


def printed(report: QualityReport) -> str:
    output = io.StringIO()
    for table in report_tables(report):
        Console(file=output, width=80).print(table)
    return output.getvalue()


def test_the_tables_of_quality_fit_into_80_columns_and_cut_no_number() -> None:
    parts = QualityParts(completeness=1.0, validity=0.875, freshness=1.0, uniqueness=1.0, volume=0.5)
    row = EventQuality(
        parts, source="website", event="Order Completed " + LONG, events=12_345_678, quarantined=1_234_567,
        duplicates=123_456, bots=12_345, freshness_p50_ms=1_234_500, freshness_p95_ms=98_765_400,
        violating=7, last_seen_ms=1_750_000_000_000,
    )  # fmt: skip
    hours = ((LONG, LONG, 1_750_000_000_000, 1_000_000, 2_000_000.0, -12.5),)
    violations = ((LONG, LONG, f"properties.{LONG}", "type", LONG, 1_000_000, 2_000_000),)
    text = printed(QualityReport(date(2026, 11, 29), (row,), hours, violations))
    assert max(map(len, text.splitlines())) <= 80
    for number in ("12,345,678", "1,234,567", "123,456", "12,345", "1,234.5", "98,765.4", "88%", "1,000,000", "-12.5"):
        assert number in text


def test_the_lines_of_verify_and_operations_fit_into_80_columns() -> None:
    comparison = StoreComparison(
        redis="a" * 64, clickhouse="b" * 64, agree=False, evidence_redis="c" * 64, evidence_clickhouse="d" * 64,
        profiles_redis=12_345_678, profiles_clickhouse=12_345_679, torn=0, labels_differ=0,
    )  # fmt: skip
    lines = list(comparison_lines(comparison))
    assert "c" * 64 in lines[2]
    entry = {
        "operation": "0d8f7ad2-8dc5-4df9-a1b2-b6e1f9b1f0aa", "at": "2026-11-29T09:00:00.123+00:00", "action": "split",
        "of": "0d8f7ad2-8dc5-4df9-a1b2-b6e1f9b1f0ab", "pairs": 3, "by": "nguyen-thi-lan", "reason": "hai người " * 20,
    }  # fmt: skip
    lines += identity_answers.operations([entry])
    assert max(map(len, lines)) <= 80
    assert str(entry["operation"]) in lines[6]
