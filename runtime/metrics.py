"""The register of metrics and the one way to write them. A misspelt name is a type error; docs/metrics.md is made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MetricName = Literal[
    "onefold_events_accepted_total",
    "onefold_events_quarantined_total",
    "onefold_plan_violations_total",
    "onefold_bad_definitions",
    "onefold_http_requests_total",
    "onefold_http_request_seconds",
    "onefold_http_connections_closed_total",
    "onefold_api_requests_total",
    "onefold_api_refusals_total",
    "onefold_email_requests_total",
    "onefold_slice_records",
    "onefold_slice_seconds",
    "onefold_slice_stage_seconds",
    "onefold_records_total",
    "onefold_links_total",
    "onefold_names_dropped_total",
    "onefold_cache_bytes",
    "onefold_merges_total",
    "onefold_splits_total",
    "onefold_component_nodes",
    "onefold_reclustering_nodes",
    "onefold_approximate_answers_total",
    "onefold_timer_lateness_seconds",
    "onefold_deliveries_total",
    "onefold_delivery_attempt_seconds",
    "onefold_event_to_delivery_seconds",
    "onefold_rows_inserted_total",
    "onefold_rows_refused_total",
    "onefold_insert_seconds",
    "onefold_retries_total",
    "onefold_segment_drift_profiles",
    "onefold_segment_members",
    "onefold_stores_free_bytes",
]

T = TypeVar("T", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Metric:
    """Kind, labels and meaning of one metric."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

REGISTER: Final[dict[MetricName, Metric]] = {
    "onefold_events_accepted_total": Metric("counter", ("source", "type"), "events appended to `events`"),
    "onefold_events_quarantined_total": Metric("counter", ("stage", "reason"), "records put into quarantine"),
    "onefold_plan_violations_total": Metric(
        "counter",
        ("source", "event", "path", "rule"),
        "violations of tracking plans; an event that is sent again counts again",
    ),
    "onefold_bad_definitions": Metric(
        "gauge",
        (),
        "records on `definitions` that this process cannot read, so that their definitions are not in force: "
        "`onefold definitions list --bad` names them",
    ),
    "onefold_http_requests_total": Metric("counter", ("path", "status"), "requests answered"),
    "onefold_http_request_seconds": Metric("histogram", ("path",), "from a request's first byte to its answer", _SECONDS),
    "onefold_http_connections_closed_total": Metric(
        "counter",
        ("port", "reason"),
        "connections that a limit has closed, by port (collector, api, metrics) and reason: `headers`, `body` and `answer` were "
        "too slow, `no_room` gave way to another one",
    ),
    "onefold_api_requests_total": Metric("counter", ("token",), "requests that the API let through, by the name of their token"),
    "onefold_api_refusals_total": Metric(
        "counter",
        ("reason",),
        "requests that the API refused: the token was `missing`, `unknown`, `expired`, or lacked the `scope`",
    ),
    "onefold_email_requests_total": Metric(
        "counter",
        ("kind", "result"),
        "opens and clicks of e-mails, by result: an event, none (HEAD, prefetch), a bad token, or an event lost",
    ),
    "onefold_slice_records": Metric("histogram", ("agent",), "records of one slice", _RECORDS),
    "onefold_slice_seconds": Metric("histogram", ("agent",), "from a slice's arrival to its acknowledgement", _SECONDS),
    "onefold_slice_stage_seconds": Metric(
        "histogram", ("agent", "stage"), "one stage of a slice: decide (with its loads), save, send", _SECONDS
    ),
    "onefold_records_total": Metric("counter", ("agent", "result"), "records of an agent, by result"),
    "onefold_links_total": Metric("counter", (), "links that reached the link agent"),
    "onefold_names_dropped_total": Metric(
        "counter",
        ("of",),
        "names that a fragment had no place for, of traits, counters (labels of events) or identifiers: ClickHouse alone has them. "
        "Look for a source that puts values into names; a name that a definition reads is always kept",
    ),
    "onefold_cache_bytes": Metric(
        "gauge",
        ("cache",),
        "about how many bytes a cache of identifiers or other texts takes; ONEFOLD_CACHE_BYTES bounds them together",
    ),
    "onefold_merges_total": Metric("counter", (), "profiles that were merged into another one"),
    "onefold_splits_total": Metric("counter", (), "profiles that were split from another one"),
    "onefold_component_nodes": Metric(
        "histogram",
        (),
        "identifiers of the profiles that one slice of the link agent resolved",
        (2.0, 5.0, 10.0, 50.0, 200.0, 1e3, 5e3, 2e4, 1e5),
    ),
    "onefold_reclustering_nodes": Metric(
        "gauge",
        ("state",),
        "identifiers of the round that resolves all profiles after a change of the identity rules: `resolved` and `waiting`",
    ),
    "onefold_approximate_answers_total": Metric(
        "counter", ("of",), "evaluations of a segment or computed trait whose registers had too few events to be exact"
    ),
    "onefold_timer_lateness_seconds": Metric(
        "histogram",
        ("stage",),
        "from a timer's instant until its touch is durable (emitted), and until what its evaluation changed is durable (evaluated)",
        _SECONDS,
    ),
    "onefold_deliveries_total": Metric("counter", ("destination", "state"), "deliveries that ended, by state"),
    "onefold_delivery_attempt_seconds": Metric("histogram", ("destination",), "one attempt at a destination", _SECONDS),
    "onefold_event_to_delivery_seconds": Metric("histogram", (), "from a transition's evaluation to its delivery", _SECONDS),
    "onefold_rows_inserted_total": Metric("counter", ("table",), "rows inserted into ClickHouse, repetitions included"),
    "onefold_rows_refused_total": Metric("counter", ("table",), "rows that ClickHouse refuses for ever: quarantined"),
    "onefold_insert_seconds": Metric("histogram", ("table",), "one insert into ClickHouse", _SECONDS),
    "onefold_retries_total": Metric("counter", ("where",), "retries after a transient fault"),
    "onefold_segment_drift_profiles": Metric(
        "gauge",
        ("segment",),
        "profiles on which stream and SQL differed after the last nightly repair, by segment and computed trait (computed.NAME); "
        "exposed by the process that ran it",
    ),
    "onefold_segment_members": Metric(
        "gauge", ("segment",), "profiles in a segment at the last nightly repair; exposed by the process that ran it"
    ),
    "onefold_stores_free_bytes": Metric(
        "gauge", ("measured_by",), "free bytes on the disk of the stores; below ONEFOLD_MIN_FREE_BYTES the collector answers 503"
    ),
}


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[MetricName, Counter | Gauge | Histogram] = {}
        self._refreshers: list[Callable[[], None]] = []
        for name, metric in REGISTER.items():
            if metric.kind == "counter":
                self._metrics[name] = Counter(name, metric.description, metric.labels, registry=self.registry)
            elif metric.kind == "gauge":
                self._metrics[name] = Gauge(name, metric.description, metric.labels, registry=self.registry)
            else:
                self._metrics[name] = Histogram(
                    name, metric.description, metric.labels, registry=self.registry, buckets=metric.buckets
                )

    def count(self, name: MetricName, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._find(name, Counter, labels).inc(value)

    def set(self, name: MetricName, value: float) -> None:
        """Set a gauge without labels."""
        self._find(name, Gauge, {}).set(value)

    def set_all(self, name: MetricName, values: Mapping[str, float]) -> None:
        """Set a gauge to these values, by its single label; values of other labels are removed."""
        gauge = self._find(name, Gauge, {})
        gauge.clear()
        for label, value in values.items():
            gauge.labels(label).set(value)

    def observe(self, name: MetricName, value: float, **labels: str) -> None:
        """Add a value (seconds, or records) to a histogram."""
        self._find(name, Histogram, labels).observe(value)

    def _find(self, name: MetricName, kind: type[T], labels: dict[str, str]) -> T:
        metric = self._metrics[name]
        child = metric.labels(**labels) if labels else metric
        if not isinstance(child, kind):
            raise TypeError(f"{name} is no {kind.__name__.lower()}")
        return child

    def refresh_by(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each exposition, to set gauges whose values are only read then."""
        self._refreshers.append(refresh)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)


def documentation() -> str:
    """Return the register as a Markdown table."""
    rows = [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.description} |"
        for name, metric in REGISTER.items()
    ]
    return "\n".join(["| Metric | Kind | Labels | Meaning |", "| --- | --- | --- | --- |", *rows]) + "\n"


if set(REGISTER) != set(get_args(MetricName)):
    raise TypeError("REGISTER and MetricName must have the same metrics")
