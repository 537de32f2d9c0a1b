"""What the stream layer counts and times."""

import contextlib
import time
from collections import Counter as Counts
from collections.abc import Iterator
from typing import Final, Literal

from runtime.metrics import Metrics

METRICS: Final = Metrics()
APPROXIMATE: Final = "approximate:"
"""What comes before the name of a segment or computed trait whose register was too small, in the results of a slice."""

TimerStage = Literal["said", "evaluated"]


def observe_slice(agent: str, records: int, seconds: float) -> None:
    """A slice was applied."""
    METRICS.observe("onefold_slice_records", records, agent=agent)
    METRICS.observe("onefold_slice_seconds", seconds, agent=agent)


@contextlib.contextmanager
def time_stage(agent: str, stage: str) -> Iterator[None]:
    """Times a stage of a slice, however it ends."""
    started = time.monotonic()
    try:
        yield
    finally:
        METRICS.observe("onefold_slice_stage_seconds", time.monotonic() - started, agent=agent, stage=stage)


def count_retry(agent: str) -> None:
    """A slice waits and is tried again."""
    METRICS.count("onefold_retries_total", where=agent)


def count_results(agent: str, counts: Counts[str]) -> None:
    """What a slice's records came to."""
    for result, count in counts.items():
        if result.startswith(APPROXIMATE):
            METRICS.count("onefold_approximate_answers_total", count, of=result.removeprefix(APPROXIMATE))
        elif count and result != "nodes":
            METRICS.count("onefold_records_total", count, agent=agent, result=result)
    if counts["links"]:
        METRICS.count("onefold_links_total", counts["links"])
    if counts["nodes"]:
        METRICS.observe("onefold_component_nodes", counts["nodes"])
    if counts["merges"]:
        METRICS.count("onefold_merges_total", counts["merges"])
    if counts["splits"]:
        METRICS.count("onefold_splits_total", counts["splits"])


def count_violation(source: str, event: str, path: str, rule: str) -> None:
    """An event was not as its tracking plan says."""
    METRICS.count("onefold_plan_violations_total", source=source, event=event, path=path, rule=rule)


def observe_timer_lateness(stage: TimerStage, late_ms: int) -> None:
    """A timer came to this stage so many ms after its instant."""
    METRICS.observe("onefold_timer_lateness_seconds", late_ms / 1000, stage=stage)
