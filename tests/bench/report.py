"""Renders the page docs/performance.md from figures."""

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from tests.bench.collector import CollectorFigures, render_collector
from tests.bench.latency import Latency
from tests.bench.links import LinkFigures, render_links
from tests.bench.previews import PreviewFigures, render_previews
from tests.bench.segments import CostFigures, render_costs
from tests.bench.timers import TimerFigures, render_timers


@dataclass(frozen=True, slots=True)
class PipelineFigures:
    """The whole pipeline. Rates are events per second, costs microseconds an event."""

    machine: str
    events: int
    floors: list[float]
    wholes: list[float]
    cpu_us: Mapping[str, float]
    stage_us: Mapping[str, float]
    layer: Mapping[str, float]
    latencies: list[Latency]


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The figures of all benchmarks."""

    pipeline: PipelineFigures
    collector: CollectorFigures
    identity: LinkFigures
    segments: CostFigures
    previews: PreviewFigures
    timers: TimerFigures


def render(report: BenchReport) -> str:
    """Render the whole performance page as Markdown."""
    sections = [
        *render_pipeline(report.pipeline),
        render_collector(report.collector),
        render_links(report.identity),
        render_segments(report.segments, report.previews),
        render_timers(report.timers),
    ]
    return "\n\n".join([_head(report.pipeline), *(section.strip() for section in sections)]) + "\n"


def _head(figures: PipelineFigures) -> str:
    return f"""# Performance

Written by `make bench`: {figures.events:,} events a round, all processes on one small shared machine ({figures.machine}, 2 cores), so
read the figures as ratios."""


def render_pipeline(figures: PipelineFigures) -> list[str]:
    """Return the page's sections about the whole pipeline."""
    return [_throughput(figures), _costs(figures), _latency(figures)]


def _throughput(figures: PipelineFigures) -> str:
    ratios = [w / f for w, f in zip(figures.wholes, figures.floors, strict=True)]
    rounds = "\n".join(
        f"| {n + 1} | {f:,.0f} | {w:,.0f} | {r:.2f} |"
        for n, (f, w, r) in enumerate(zip(figures.floors, figures.wholes, ratios, strict=True))
    )
    return f"""## Throughput

*Floor*: the same bytes through aiokafka, JSON, Redis MGET and SET, aiokafka and a ClickHouse insert, without logic, in one process.
*Pipeline*: HTTP batches of 50, until every event is a row in ClickHouse and every touched profile is evaluated. In turn, in one run.

| Round | Floor, events/s | Pipeline, events/s | Ratio |
| --- | --- | --- | --- |
{rounds}

Median ratio: **{statistics.median(ratios):.2f}** (aim: 0.30)."""


def _costs(figures: PipelineFigures) -> str:
    return f"""## What an event costs

CPU of each process (user and system time), microseconds an event, last round:

| Process | us |
| --- | --- |
{_rows(figures.cpu_us)}

Wall time of the stream agents' stages, microseconds an event of `events`, all rounds (waiting for Redis and Kafka included):

| Agent and stage | us |
| --- | --- |
{_rows(figures.stage_us)}

The stream layer alone, microseconds a record of wall time (aim: 10 or less over the bare client):

| Way | us |
| --- | --- |
{_rows(figures.layer)}"""


def _latency(figures: PipelineFigures) -> str:
    latencies = "\n".join(
        f"| {load} | {seen.rate:,.0f} | {seen.count:,} | {seen.p50_ms:.0f} | {seen.p99_ms:.0f} |"
        for load, seen in zip(("a quarter", "half"), figures.latencies, strict=True)
    )
    return f"""## Latency

One event in 50 makes a new customer enter a segment. From the moment its batch was due to be sent to the signed webhook's arrival
(aim: p99 of 500 ms at half of the pipeline's throughput). Slices are small then, so an event costs the stream process more than in the
tables above, and it is what saturates first.

| Load | Events/s | Webhooks | p50, ms | p99, ms |
| --- | --- | --- | --- | --- |
{latencies}"""


def with_pipeline(page: str, figures: PipelineFigures) -> str:
    """Return the page with its sections about the whole pipeline replaced by these figures."""
    return reduce(_with, render_pipeline(figures), page)


def with_identity(page: str, figures: LinkFigures) -> str:
    """Return the page with its section about identity replaced by these figures."""
    return _with(page, render_links(figures))


def with_collector(page: str, figures: CollectorFigures) -> str:
    """Return the page with its section about the collector replaced by these figures."""
    return _with(page, render_collector(figures))


def with_segments(page: str, costs: CostFigures, previews: PreviewFigures) -> str:
    """Return the page with its section about segments replaced by these figures."""
    return _with(page, render_segments(costs, previews))


def render_segments(costs: CostFigures, previews: PreviewFigures) -> str:
    """Return the performance page's section about segments."""
    return f"## Segments\n\n{render_costs(costs)}\n{render_previews(previews)}"


def with_timers(page: str, figures: TimerFigures) -> str:
    """Return the page with its section about timers replaced by these figures."""
    return _with(page, render_timers(figures))


def _with(page: str, section: str) -> str:
    """Return the page with `section` in the place of the section with the same title, or at the end if there is none."""
    title = section.partition("\n")[0] + "\n"
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    if not any(part.startswith(title) for part in parts):
        parts.append(section)
    return "\n\n".join((section if part.startswith(title) else part).strip() for part in parts) + "\n"


def _rows(figures: Mapping[str, float]) -> str:
    return "\n".join(f"| {name} | {value:.1f} |" for name, value in sorted(figures.items(), key=lambda item: -item[1]))
