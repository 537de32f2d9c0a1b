"""Run all benchmarks (`python -m tests.bench`) and write their figures to docs/performance.md.

It measures the floor and the pipeline in turn, the cost of each stage, latency, the collector, the link agent, segments and timers.
"""

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from pathlib import Path

from embedded.attach import settings_of_running
from tests.bench.collector import measure_collector
from tests.bench.floor import floor
from tests.bench.latency import Latency, latency
from tests.bench.links import measure_links
from tests.bench.load import calls
from tests.bench.previews import measure_previews
from tests.bench.report import (
    BenchReport,
    PipelineFigures,
    render,
    with_collector,
    with_identity,
    with_pipeline,
    with_segments,
    with_timers,
)
from tests.bench.segments import measure_costs
from tests.bench.stream_layer import measure
from tests.bench.timers import measure_timers
from tests.bench.whole import stage_costs, whole
from tests.support.shipped_command import Onefold, running_onefold

PAGE = Path("docs/performance.md")


def main() -> None:
    """Run the bench and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-page", action="store_true", help="print only")
    parser.add_argument("--only-pipeline", action="store_true", help="measure the whole pipeline and keep the rest of the page")
    parser.add_argument("--only-identity", action="store_true", help="measure the link agent alone and keep the rest of the page")
    parser.add_argument("--only-collector", action="store_true", help="measure the collector alone and keep the rest of the page")
    parser.add_argument("--only-segments", action="store_true", help="measure segments alone and keep the rest of the page")
    parser.add_argument("--only-timers", action="store_true", help="measure the timers alone and keep the rest of the page")
    options = parser.parse_args()
    if options.only_collector:
        write(with_collector(PAGE.read_text(encoding="utf-8"), measure_collector(options.rounds)), page=not options.no_page)
        return
    if options.only_segments:
        page = with_segments(PAGE.read_text(encoding="utf-8"), measure_costs(), measure_previews())
        write(page, page=not options.no_page)
        return
    if options.only_timers:
        write(with_timers(PAGE.read_text(encoding="utf-8"), measure_timers()), page=not options.no_page)
        return
    with tempfile.TemporaryDirectory() as directory, running_onefold(Path(directory)) as onefold:
        if options.only_identity:
            figures = measure_links(options.rounds, stack=settings_of_running(onefold.data_dir))
            text = with_identity(PAGE.read_text(encoding="utf-8"), figures)
        elif options.only_pipeline:
            text = with_pipeline(PAGE.read_text(encoding="utf-8"), pipeline(onefold, options.events, options.rounds))
        else:
            text = render(bench(onefold, options.events, options.rounds))
    write(text, page=not options.no_page)


def write(text: str, *, page: bool) -> None:
    """Print the text, and make it the page."""
    print(text)
    if page:
        PAGE.write_text(text, encoding="utf-8")


def bench(onefold: Onefold, events: int, rounds: int) -> BenchReport:
    """Run all benchmarks and return their figures."""
    return BenchReport(
        pipeline=pipeline(onefold, events, rounds),
        collector=measure_collector(rounds),
        identity=measure_links(rounds, stack=settings_of_running(onefold.data_dir)),
        segments=measure_costs(),
        previews=measure_previews(),
        timers=measure_timers(),
    )


def pipeline(onefold: Onefold, events: int, rounds: int) -> PipelineFigures:
    """Measure the floor and the pipeline in turn, so that a busy minute of the machine slows both."""
    settings = settings_of_running(onefold.data_dir)
    floors: list[float] = []
    wholes: list[float] = []
    costs: dict[str, float] = {}
    asyncio.run(whole(onefold, calls(2_000, 0, "warm")))
    asyncio.run(floor(settings, calls(2_000, 0, "warm")))
    for number in range(rounds):
        prefix = f"r{number}-{int(time.monotonic())}"
        made = calls(events, number, prefix)
        floors.append(asyncio.run(floor(settings, made)))
        speed, costs = asyncio.run(whole(onefold, made))
        wholes.append(speed)
        print(f"round {number + 1}: floor {floors[-1]:,.0f} events/s, pipeline {speed:,.0f} events/s", flush=True)
    latencies: list[Latency] = [latency(onefold, rate=statistics.median(wholes) / part) for part in (4, 2)]
    return PipelineFigures(
        machine=f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
        events=events,
        floors=floors,
        wholes=wholes,
        cpu_us=costs,
        stage_us=stage_costs(onefold),
        layer=asyncio.run(measure(settings)),
        latencies=latencies,
    )


if __name__ == "__main__":
    main()
