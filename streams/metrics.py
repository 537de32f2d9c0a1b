"""What the stream agents count and time."""

import contextlib
import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from domain.text_caches import cache_sizes
from runtime.metrics import Metrics

METRICS: Final = Metrics()
"""The metrics of this process. Global because a process has exactly one registry, which its health server serves."""

TimerStage = Literal["emitted", "evaluated"]


def observe_slice(agent: str, records: int, seconds: float) -> None:
    """Record that a slice was applied, in so many seconds."""
    METRICS.observe("onefold_slice_records", records, agent=agent)
    METRICS.observe("onefold_slice_seconds", seconds, agent=agent)


@contextlib.contextmanager
def time_stage(agent: str, stage: str) -> Iterator[None]:
    """Time a stage of a slice, whether it succeeds or raises."""
    started = time.monotonic()
    try:
        yield
    finally:
        METRICS.observe("onefold_slice_stage_seconds", time.monotonic() - started, agent=agent, stage=stage)


def count_retry(agent: str) -> None:
    """Count a retry: the slice waits and is tried again."""
    METRICS.count("onefold_retries_total", where=agent)


def count_results(agent: str, counts: Counts[str]) -> None:
    """Count the records of a slice by their results, once the slice is applied."""
    for result, count in counts.items():
        if count and result != "nodes":
            METRICS.count("onefold_records_total", count, agent=agent, result=result)
    if counts["links"]:
        METRICS.count("onefold_links_total", counts["links"])
    if counts["nodes"]:
        METRICS.observe("onefold_component_nodes", counts["nodes"])
    if counts["merges"]:
        METRICS.count("onefold_merges_total", counts["merges"])
    if counts["splits"]:
        METRICS.count("onefold_splits_total", counts["splits"])


def show_bad_definitions(records: int) -> None:
    """Show how many records of the topic of definitions cannot be read."""
    METRICS.set("onefold_bad_definitions", records)


def count_dropped_names(counts: Counts[str]) -> None:
    """Count the names that fragments had no place for, by what they name."""
    for kind, count in counts.items():
        METRICS.count("onefold_names_dropped_total", count, of=kind)


def count_approximate_answers(names: Iterable[str]) -> None:
    """Count the answers of these segments and computed traits as approximate, once for each time that a name occurs."""
    for name in names:
        METRICS.count("onefold_approximate_answers_total", of=name)


def show_caches() -> None:
    """Show how many bytes the caches of this process take."""
    METRICS.set_all("onefold_cache_bytes", cache_sizes())


def show_reclustering(resolved: int, total: int) -> None:
    """Show how many identifiers a round over all clusters has resolved, and how many wait."""
    METRICS.set_all("onefold_reclustering_nodes", {"resolved": resolved, "waiting": total - resolved})


def count_violation(source: str, event: str, path: str, rule: str) -> None:
    """Count a violation of a tracking plan by an event."""
    METRICS.count("onefold_plan_violations_total", source=source, event=event, path=path, rule=rule)


def observe_timer_lateness(stage: TimerStage, late_ms: int) -> None:
    """Record that a timer reached this stage `late_ms` after its instant."""
    METRICS.observe("onefold_timer_lateness_seconds", late_ms / 1000, stage=stage)
