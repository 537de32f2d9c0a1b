"""The views of data quality and of tracking plan violations, on a real ClickHouse engine."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest

from domain.intake.quality_score import by_source, freshness, validity
from ops.quality import measure_quality
from runtime.bus.port import Record
from runtime.clock import SystemClock
from schemas.events import Event, PlanViolation
from schemas.records import QuarantineRecord
from tests.support.events import event
from warehouse import named_queries, rows
from warehouse.client import Warehouse
from warehouse.rows import event_from_row
from warehouse.tables import EVENT_STORE, LEDGER, QUARANTINE
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = SystemClock().now_ms()
TODAY = NOW_MS // DAY_MS * DAY_MS
BLOCKED = "properties.total: is of another type than planned (type, text)"


@dataclass
class Log:
    """Rows that a consumer would have written."""

    warehouse: Warehouse
    offset: int = 0
    records: list[tuple[Record, Event]] = field(default_factory=list)

    def append(self, at_ms: int, *, name: str = "Đặt hàng", late_ms: int = 0, again: str = "", **more: Any) -> None:
        logged = event(
            {"user_id": "u"},
            id=again or f"m{self.offset}",
            name=name,
            time_ms=at_ms - late_ms,
            received_ms=at_ms,
            source="shop",
            **more,
        )
        self.records.append((Record("onefold.events", 0, self.offset, at_ms, None, None), logged))
        self.offset += 1

    async def write(self, quarantined: Sequence[QuarantineRecord] = ()) -> None:
        writer = ClickHouseWriter(self.warehouse)
        for _ in range(2):  # a batch may come again
            await writer.insert(EVENT_STORE, [rows.event_row(record, logged) for record, logged in self.records])
            await writer.insert(LEDGER, [rows.stored_ledger_row(record, logged) for record, logged in self.records])
            await writer.insert(
                QUARANTINE,
                [row for quarantine_record in quarantined for row in rows.quarantine_rows(self.records[0][0], quarantine_record)],
            )


def quarantined_row(
    raw: str, number: int, at_ms: int, *, source: str = "shop", reason: str = "plan_violation", detail: str = BLOCKED
) -> QuarantineRecord:
    return QuarantineRecord(
        id=f"collector-{number}", stage="collector", reason=reason, detail=detail, source=source, topic="", partition=-1, offset=-1,
        raw=base64.b64encode(raw.encode()).decode(), at_ms=at_ms, counted=True,
    )  # fmt: skip


async def quality(warehouse: Warehouse, name: str = "Đặt hàng", day_ms: int = TODAY) -> dict[str, Any]:
    columns = (
        "events", "quarantined", "violating", "bots", "duplicates", "hours_judged", "hours_usual", "freshness_p95_ms",
        "completeness", "validity", "freshness", "uniqueness", "volume", "score",
    )  # fmt: skip
    [row] = await warehouse.query(
        f"SELECT {', '.join(columns)} FROM quality_daily "  # noqa: S608 - a test's own columns
        "WHERE source = 'shop' AND event = {name:String} AND day = toDate(intDiv({day:Int64}, 86400000))",
        {"name": name, "day": day_ms},
    )
    return dict(zip(columns, row, strict=True))


async def test_a_day_in_order_has_the_full_score(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    for _ in range(10):
        log.append(TODAY, properties={"total": 1, "màu": None})
    await log.write()
    day_quality = await quality(warehouse)
    assert day_quality["score"] == pytest.approx(100)
    assert day_quality["events"] == 10
    assert day_quality["completeness"] == 1
    assert day_quality["validity"] == 1
    assert day_quality["volume"] is None


async def test_each_part_is_counted(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    for _ in range(20):
        log.append(TODAY - DAY_MS, properties={"total": 1, "currency": "VND"})
    wrong = (PlanViolation("properties.total", "missing", ""),)
    for number in range(8):
        log.append(
            TODAY,
            late_ms=2 * HOUR_MS,
            properties={"currency": "VND"} if number < 4 else {"total": 1, "currency": "VND"},
            violations=wrong if number < 3 else (),
            observed=wrong if number == 3 else (),
            flags=("bot",) if number == 0 else (),
        )
    log.append(TODAY, again="m27")
    log.append(TODAY, again="m27")
    await log.write([quarantined_row('{"type": "track", "event": "Đặt hàng"}', number, TODAY) for number in range(2)])
    day_quality = await quality(warehouse)
    assert {name: day_quality[name] for name in ("events", "quarantined", "violating", "bots", "duplicates")} == {
        "events": 8, "quarantined": 2, "violating": 4, "bots": 1, "duplicates": 2,
    }  # fmt: skip
    assert day_quality["completeness"] == pytest.approx(12 / 16)
    assert day_quality["validity"] == pytest.approx(0.4)
    assert day_quality["uniqueness"] == pytest.approx(0.8)
    assert day_quality["freshness_p95_ms"] == pytest.approx(2 * HOUR_MS)
    assert 0 < day_quality["freshness"] < 1
    assert 0 < day_quality["score"] < 100
    assert (await quality(warehouse, day_ms=TODAY - DAY_MS))["score"] == pytest.approx(100)


async def test_an_event_that_is_always_quarantined_scores_zero(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    log.append(TODAY)
    await log.write(
        [
            quarantined_row('{"type": "identify"}', 1, TODAY),
            quarantined_row("{nonsense", 2, TODAY, reason="unparsable", detail="not JSON"),
        ]
    )
    assert (await quality(warehouse, "$identify"))["score"] == 0
    assert (await quality(warehouse, ""))["validity"] == 0


async def test_violations_are_counted_by_source_event_and_path_with_a_sample(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    wrong = (PlanViolation("properties.total", "type", "text"),)
    log.append(TODAY, violations=wrong)
    log.append(TODAY + 1, observed=(*wrong, PlanViolation("properties.màu", "unknown", "array")))
    log.append(TODAY + 1, again="m1", observed=wrong)
    await log.write([quarantined_row('{"type": "track", "event": "Đặt hàng"}', 1, TODAY + 2)])
    violations = await warehouse.query(
        "SELECT source, event, path, rule, kind, events, blocked, sample FROM violations ORDER BY path"
    )
    assert violations == [
        ("shop", "Đặt hàng", "properties.màu", "unknown", "array", 1, 0, "m1"),
        ("shop", "Đặt hàng", "properties.total", "type", "text", 3, 1, "collector-1"),
    ]


async def test_hour_is_compared_with_the_same_hour_of_four_weeks(warehouse: Warehouse) -> None:
    hour = NOW_MS // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    log = Log(warehouse)
    for weeks, count in ((6, 1), (4, 100), (3, 110), (2, 90), (1, 100)):
        for _ in range(count):
            log.append(hour - weeks * 7 * DAY_MS)
    for weeks, count in ((6, 1), (4, 10), (3, 10), (2, 10), (1, 10), (0, 10)):
        for _ in range(count):
            log.append(hour - weeks * 7 * DAY_MS, name="Xem")
    for _ in range(5):
        log.append(hour, name="Mới")
    await log.write()
    query = """SELECT event, events, weeks, usual, round(z, 2) FROM volume_hourly
        WHERE hour = toDateTime(intDiv({hour:Int64}, 1000), 'UTC') ORDER BY event"""
    assert await warehouse.query(query, {"hour": hour}) == [
        ("Xem", 10, 4, 10.0, 0.0),
        ("Đặt hàng", 0, 4, 100.0, -10.0),
    ]
    day = hour // DAY_MS * DAY_MS
    assert (await quality(warehouse, day_ms=day))["volume"] == 0
    assert (await quality(warehouse, "Xem", day_ms=day))["volume"] == 1
    assert (await quality(warehouse, "Mới", day_ms=day))["volume"] is None


async def test_views_of_events_show_flags_and_what_is_noted_on_them(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    wrong = (PlanViolation("properties.total", "type", "text"),)
    log.append(TODAY, flags=("bot",), violations=wrong)
    log.append(TODAY, observed=wrong)
    await log.write()
    for view in ("events", "events_now"):
        assert await warehouse.query(f"SELECT flags, violations FROM {view} ORDER BY id") == [  # noqa: S608 - a test's own views
            (["bot"], [{"path": "properties.total", "rule": "type", "kind": "text"}]),
            ([], []),
        ]


async def test_the_report_has_the_scores_of_the_view(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    wrong = (PlanViolation("properties.total", "missing", ""),)
    for number in range(10):
        log.append(TODAY, late_ms=number * 90_000, properties={"a": 1} if number else {}, violations=wrong if number > 7 else ())
        log.append(TODAY, again="m4", name="Xem")
    await log.write([quarantined_row('{"type": "track", "event": "Xem"}', 1, TODAY)])
    report = await measure_quality(warehouse, datetime.fromtimestamp(TODAY / 1_000, UTC).date())
    scores = dict(await warehouse.query("SELECT event, score FROM quality_daily WHERE day = toDate(now())"))
    assert {row.event: row.score for row in report.rows} == pytest.approx(scores)
    assert scores.keys() == {"Xem", "Đặt hàng"}
    for row in report.rows:
        assert row.parts.freshness == pytest.approx(freshness(row.freshness_p95_ms))
        assert row.parts.validity == pytest.approx(validity(row.events, row.violating, row.quarantined))
    assert [row[1:7] for row in report.violations] == [
        ("Đặt hàng", "properties.total", "missing", "", 2, 0),
        ("Xem", "properties.total", "type", "text", 1, 1),
    ]
    assert json.loads(json.dumps(report.as_json()))["sources"] == pytest.approx(by_source(report.rows))
    assert {event_score["event"]: event_score["score"] for event_score in report.as_json()["events"]} == pytest.approx(scores)
    assert (await measure_quality(warehouse, date(2020, 1, 1))).rows == ()


async def test_bot_flag_survives_reading_back_for_a_rebuild(warehouse: Warehouse) -> None:
    log = Log(warehouse)
    log.append(TODAY, flags=("bot",))
    await log.write()
    [row] = await named_queries.fetch_rows(warehouse, "events")
    assert event_from_row(row[:-2]) == log.records[0][1]


async def test_a_quarantined_touchpoint_that_names_no_source_is_of_the_server(warehouse: Warehouse) -> None:
    unnamed, named = '{"type": "track", "event": "Gọi"}', '{"type": "track", "event": "Gọi", "source": "pbx"}'
    log = Log(warehouse)
    log.append(NOW_MS)
    await log.write([quarantined_row(raw, number, NOW_MS, source="") for number, raw in enumerate((unnamed, named))])
    found = await warehouse.query("SELECT source, event FROM quarantined_events ORDER BY source")
    assert found == [("pbx", "Gọi"), ("server", "Gọi")]
