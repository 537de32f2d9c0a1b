"""The end of the demo: it waits until everything is processed, compares the result with what was due, and prints it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console
from rich.table import Table

from demo.figures import Figures, count_unread, load_due_deliveries, read_figures
from demo.webhook_receiver import Receiver
from domain.definitions.kinds import Destination
from ops.cli.sql import as_analyst
from ops.connect import Connection
from runtime.errors import Transient
from warehouse.client import Warehouse

DRAIN_S: Final = 120.0
TIME_EMPTIED_SEGMENTS: Final = ("cart-open", "cart-abandoned")
"""Segments that time alone empties when nobody comes any more."""
_QUIET_OBSERVATIONS: Final = 2
_PAUSE_S: Final = 0.5
_SHOWN_MISSING: Final = 10

QUERIES: Final = (
    (
        "Who is where, and since when",
        (
            "SELECT segment, count() AS customers, min(since) AS first, max(since) AS last FROM memberships "
            "GROUP BY segment ORDER BY customers DESC"
        ),
    ),
    (
        "Customers by stage, and what they have spent",
        (
            "SELECT lifecycle, count() AS customers, countIf(has(segments, 'birthday')) AS birthday_today, "
            "sum(JSONExtractInt(computed, 'total-spent')) AS spent_vnd, topK(1)(rfm)[1] AS commonest_rfm FROM profiles "
            "GROUP BY lifecycle ORDER BY customers DESC"
        ),
    ),
    (
        "Revenue by city",
        (
            "SELECT JSONExtractString(p.traits, 'address', 'city') AS city, count() AS orders, "
            "sum(JSONExtractInt(e.properties, 'total')) AS revenue_vnd "
            "FROM events AS e INNER JOIN profiles AS p ON p.profile_id = e.profile_id "
            "WHERE e.name = 'Order Completed' GROUP BY city ORDER BY revenue_vnd DESC LIMIT 6"
        ),
    ),
    (
        "One customer, many touchpoints",
        (
            "SELECT JSONExtractString(traits, 'name') AS name, arraySort(arrayMap(i -> i.namespace, identifiers)) AS known_by, "
            "segments FROM profiles ORDER BY length(identifiers) DESC, name LIMIT 5"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """The outcome at the end. `missing` names everything that was due and did not happen."""

    figures: Figures
    due: int
    received: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoObservation:
    """The figures, what was due then (see `due`), and which messages the receiver had. `quiet_count` when nothing was under way."""

    figures: Figures
    due_deliveries: Mapping[str, str]
    received: frozenset[str]
    quiet: bool


def judge(observation: DemoObservation, sent: int, failed: int) -> DemoVerdict:
    """Pure. Nothing is missing when the account balances with all that was sent in it, and every due message was received."""
    figures, account, due_deliveries, received = (
        observation.figures,
        observation.figures.account,
        observation.due_deliveries,
        observation.received,
    )
    missing = []
    if not account.balanced or account.in_flight:
        missing.append(f"the account does not balance at a quiet moment: {account}")
    if account.accepted < sent:
        missing.append(f"{sent} events were sent and {account.accepted} accepted: {sent - account.accepted} are missing")
    if failed:
        missing.append(f"the shop's client gave up on {failed} events: see collector.log")
    lost_deliveries = {key: what for key, what in due_deliveries.items() if key not in received}
    if lost_deliveries:
        shown = ", ".join(f"{what} ({key[:12]}…)" for key, what in list(lost_deliveries.items())[:_SHOWN_MISSING])
        missing.append(f"{len(lost_deliveries)} of {len(due_deliveries)} due deliveries did not arrive: {shown}")
    if not observation.quiet and not missing:
        missing.append(f"the streams had not come to rest after {DRAIN_S:.0f} s")
    return DemoVerdict(figures, len(due_deliveries), len(received & due_deliveries.keys()), tuple(missing))


async def wait_until_quiet(
    connection: Connection, destination: Destination, receiver: Receiver, expected: int, show: Callable[[Figures], None]
) -> DemoObservation:
    """Wait until every event is processed, no cart is left, and every due message has arrived. Return the last observation.

    Time goes on moving customers afterwards, so the demo is judged by this observation and by no later one.
    """
    deadline, quiet_count = time.monotonic() + DRAIN_S, 0
    observation = None
    while observation is None or time.monotonic() < deadline:
        try:
            observation = await _observe(connection, destination, receiver, expected)
            show(observation.figures)
            quiet_count = quiet_count + 1 if observation.quiet else 0
        except Transient:
            quiet_count = 0
            if time.monotonic() >= deadline:
                raise
        if observation is not None and quiet_count >= _QUIET_OBSERVATIONS:
            return observation
        await asyncio.sleep(_PAUSE_S)
    return replace(observation, quiet=False)


async def _observe(connection: Connection, destination: Destination, receiver: Receiver, expected: int) -> DemoObservation:
    figures, unread = await read_figures(connection), await count_unread(connection)
    due_deliveries = await load_due_deliveries(connection, destination)
    is_at_rest = figures.account.in_flight == 0 and figures.account.accepted >= expected and unread == 0
    has_carts = any(figures.segments.get(name, 0) for name in TIME_EMPTIED_SEGMENTS)
    received = frozenset(receiver.ids)
    return DemoObservation(
        figures, due_deliveries, received, quiet=is_at_rest and not has_carts and not due_deliveries.keys() - received
    )


def print_report(console: Console, verdict: DemoVerdict, receiver: Receiver) -> None:
    """Print what the demo observed: counts, and the movements of each segment."""
    figures, account = verdict.figures, verdict.figures.account
    table = Table(title="What was seen", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("events accepted", account.accepted),
        ("= stored", account.stored),
        ("+ duplicate", account.duplicate),
        ("+ suppressed", account.suppressed),
        ("+ quarantined", account.quarantined),
        ("profiles", figures.profiles),
        ("merges", figures.merges),
        ("transitions", figures.transitions),
        ("… by time alone", figures.count_transitions("entered", why="time") + figures.count_transitions("exited", why="time")),
        ("deliveries due", verdict.due),
        ("arrived with a valid signature", verdict.received),
        ("refused by the receiver and tried again", receiver.responses["busy"]),
    ):
        table.add_row(name, f"{value:,}")
    console.print(table)
    console.print(movement_table(figures))


def movement_table(figures: Figures) -> Table:
    """Return each segment's size, and how many entered and left it by an event, by time alone, and by a merge of two profiles."""
    table = Table(title="Segments: who is in, and what moved customers in and out", title_justify="left")
    table.add_column("segment", no_wrap=True)
    for name in ("now", *(f"{direction} by\n{why}" for direction in ("in", "out") for why in ("event", "time", "merge"))):
        table.add_column(name, justify="right")
    for segment in figures.segment_names:
        counts = [figures.count_transitions(op, segment, why) for op in ("entered", "exited") for why in ("event", "time", "merge")]
        table.add_row(segment, *(f"{count:,}" if count else "·" for count in (figures.segments.get(segment, 0), *counts)))
    return table


async def print_queries(console: Console, connection: Connection, data_dir: str) -> None:
    """Print three questions to ask Onefold, with their answers."""
    warehouse = await Warehouse.connect(as_analyst(connection.settings))
    try:
        for title, sql in QUERIES:
            answer = await warehouse.query_formatted(sql, {}, "PrettyCompact", {"readonly": 2, "output_format_pretty_color": 0})
            console.print(f"\n{title}", style="bold", markup=False)
            console.print(f'onefold sql --data-dir {data_dir} "{sql}"', markup=False, highlight=False, soft_wrap=True)
            console.print(answer.decode(), markup=False, highlight=False, soft_wrap=True)
    finally:
        await warehouse.aclose()
