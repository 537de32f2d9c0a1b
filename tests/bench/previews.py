"""Measures a segment's preview over millions of events in the shipped ClickHouse process, beside a count of one event.

`python -m tests.bench.previews` prints its table; `--events 1000000` gives a quick result.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from domain.definitions.kinds import parse_definition
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import SegmentPlan
from domain.segments.sql.preview import preview_query
from runtime.settings import Settings
from tests.support.clickhouse_server import clickhouse_server
from warehouse.client import Warehouse
from warehouse.migrate import migrate

END_MS: Final = 1_790_000_000_000
PIECE: Final = 200_000
EVENTS_EACH: Final = 10
"""Events of a person; one person in ten has a second identifier of its own, so that labels are not empty."""
_WHERE: Final[dict[str, dict[str, Any]]] = {
    "did": {"did": {"event": "Order Completed", "at_least": 2, "within": "30d"}},
    "aggregate": {"aggregate": {"event": "Order Completed", "of": "sum", "prop": "total", "value": 5_000_000, "within": "90d"}},
    "sequence": {
        "sequence": {
            "first": {"event": "Product Added", "within": "30d"},
            "then_not": {"event": "Order Completed", "within": "1d"},
        }
    },
    "trait": {"trait": {"path": "address.city", "op": "in", "value": ["Hà Nội", "Huế"]}},
}
SEGMENTS: Final[dict[str, dict[str, Any]]] = {
    **_WHERE,
    "all four, mixed": {"all": [{"any": [_WHERE["did"], _WHERE["aggregate"]]}, {"not": _WHERE["sequence"]}, _WHERE["trait"]]},
}
FLOOR: Final = "SELECT count() FROM event_store WHERE name = 'Order Completed'"
_FILL: Final = """
INSERT INTO event_store
    (owner, id, type, name, source, time, received, nodes, identifiers, properties, traits, context, partition, offset)
WITH
    number + {start:UInt64} AS n,
    cityHash64(n) AS dice,
    cityHash64(n, 1) % 100 AS kind,
    dice % {people:UInt64} AS person,
    concat('0', substring(lower(hex(MD5(toString(person)))), 1, 31)) AS node,
    multiIf(kind < 5, 'Order Completed', kind < 20, 'Product Added', kind < 65, 'Product Viewed', kind < 70, '', 'Xem trang') AS called,
    fromUnixTimestamp64Milli(toInt64({end:UInt64} - intHash64(n) % (90 * 86400000)), 'UTC') AS at
SELECT
    node, toString(n), multiIf(kind < 65, 'track', kind < 70, 'identify', 'page'), called, 'web', at, at, [node],
    [('user_id', toString(person))],
    concat('{"product_id":"p', toString(dice % 997), '","price":', toString(cityHash64(n, 2) % 3000 * 1000), ',"total":',
        toString(cityHash64(n, 3) % 5000 * 1000), ',"currency":"VND"}'),
    if(called = '', concat('{"name":"Nguyễn Thị Ánh","address":{"city":"',
        ['Hà Nội', 'Huế', 'Đà Nẵng', 'Cần Thơ', 'Hải Phòng'][1 + person % 5], '"}}'), '{}'),
    '{"locale":"vi-VN"}', 0, n
FROM numbers({count:UInt64})
"""
_LABELS: Final = """
INSERT INTO labels (node, profile_id, version)
WITH number * 10 AS person
SELECT concat('0', substring(lower(hex(MD5(toString(person)))), 1, 31)),
    concat('0', substring(lower(hex(MD5(toString(person + 1)))), 1, 31)), 1
FROM numbers({count:UInt64})
"""


@dataclass(frozen=True, slots=True)
class PreviewTiming:
    """A segment's size, and the median time of its preview and of the floor that ran beside it, in seconds."""

    name: str
    members: int
    seconds: float
    floor: float


@dataclass(frozen=True, slots=True)
class PreviewFigures:
    """The timings of all segments, with the numbers of events and people; `load` is the machine's load before and after."""

    previews: Sequence[PreviewTiming]
    events: int
    people: int
    load: tuple[float, float]


def plan_of(segments: dict[str, dict[str, Any]]) -> SegmentPlan:
    """Return a plan of these segments, which are named s0, s1 and so on."""
    return segment_plan_of(
        parse_definition(
            {
                "apiVersion": "onefold/v1",
                "kind": "Segment",
                "metadata": {"name": f"s{number}"},
                "spec": {"where": where},
            },
            "bench",
        )
        for number, where in enumerate(segments.values())
    )


async def fill(warehouse: Warehouse, events: int) -> int:
    """Insert the events, and labels for a tenth of the people; return how many people there are."""
    people = max(events // EVENTS_EACH, 10)
    for start in range(0, events, PIECE):
        size = min(PIECE, events - start)
        await warehouse.command(_FILL, {"start": start, "count": size, "people": people, "end": END_MS})
    await warehouse.command(_LABELS, {"count": people // 10})
    await warehouse.command("SYSTEM RELOAD DICTIONARY label_dictionary")
    return people


async def _timed(warehouse: Warehouse, sql: str, parameters: dict[str, Any]) -> tuple[float, int]:
    started = time.perf_counter()
    rows = await warehouse.query(sql, parameters)
    return time.perf_counter() - started, int(rows[0][0])


async def look(settings: Settings, events: int, rounds: int) -> PreviewFigures:
    """Measure the previews and their floors in turn."""
    await migrate(settings)
    warehouse = await Warehouse.connect(settings)
    try:
        people = await fill(warehouse, events)
        before, plan = os.getloadavg()[0], plan_of(SEGMENTS)
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in SEGMENTS}
        for _ in range(rounds):
            for number, name in enumerate(SEGMENTS):
                query = preview_query(plan, f"s{number}", END_MS)
                floor, _count = await _timed(warehouse, FLOOR, {})
                seconds, members = await _timed(warehouse, query.sql, query.parameters)
                found[name].append((seconds, floor, members))
        previews = [
            PreviewTiming(
                name,
                members=seen[0][2],
                seconds=statistics.median(one[0] for one in seen),
                floor=statistics.median(one[1] for one in seen),
            )
            for name, seen in found.items()
        ]
        return PreviewFigures(previews, events, people, (before, os.getloadavg()[0]))
    finally:
        await warehouse.aclose()


def measure_previews(events: int = 10_000_000, rounds: int = 3) -> PreviewFigures:
    """Measure previews on an engine that is started for this benchmark alone."""
    with tempfile.TemporaryDirectory() as directory, clickhouse_server(Path(directory)) as url:
        return asyncio.run(look(Settings(clickhouse_url=SecretStr(url)), events, rounds))


def render_previews(figures: PreviewFigures) -> str:
    """Return the table of previews and the text that explains it."""
    rows = "\n".join(
        f"| {one.name} | {one.members:,} | {one.seconds:.2f} | {one.floor:.2f} | {one.seconds / one.floor:.0f} |"
        for one in figures.previews
    )
    return f"""A preview (the size of a segment and ten of its members, under the current identity) over {figures.events:,} generated events of
{figures.people:,} people in the embedded ClickHouse. *Floor*: `{FLOOR}`. In turn; medians. The
machine's load was {figures.load[0]:.1f} before and {figures.load[1]:.1f} after.

| Segment | Members | Preview, s | Floor, s | Ratio |
| --- | --- | --- | --- | --- |
{rows}
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(render_previews(measure_previews(options.events, options.rounds)))


if __name__ == "__main__":
    main()
