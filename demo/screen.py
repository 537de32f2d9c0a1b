"""The demo's screen: live tables on a terminal, one plain line every five seconds elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.figures import Figures

PLAIN_EVERY_S: Final = 5.0
_NOTES: Final = 4


@dataclass(frozen=True, slots=True)
class DemoScene:
    """What is shown at one moment."""

    phase: str
    seconds: float
    sent: int
    rate: float
    received: int
    figures: Figures | None
    notes: tuple[str, ...] = field(default=())


class DemoScreen:
    """Shows scenes; `note` takes what the stack has to say."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown_at_s = -PLAIN_EVERY_S
        self._is_showing = False
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Something happened: printed at once, or put below the tables."""
        self.notes.append(line)
        if not self._is_showing or self._live is None:
            self.console.print(line, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._is_showing = True
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_showing = False
        if self._live is not None:
            self._live.stop()

    def show(self, scene: DemoScene) -> None:
        """Show a scene, if it is time to."""
        if self._live is not None:
            self._live.update(scene_tables(scene, tuple(self.notes[-_NOTES:])), refresh=True)
        elif time.monotonic() - self._shown_at_s >= PLAIN_EVERY_S:
            self._shown_at_s = time.monotonic()
            self.console.print(scene_line(scene), markup=False, highlight=False, soft_wrap=True)


def scene_line(scene: DemoScene) -> str:
    """Return the scene as one line of text, and a second line with the segments."""
    heading = f"{scene.seconds:5.0f} s  {scene.phase}  {scene.rate:.0f} events/s  sent {scene.sent}"
    figures = scene.figures
    if figures is None:
        return heading
    account = figures.account
    sizes = "  ".join(f"{name} {figures.segments.get(name, 0)}" for name in figures.segment_names)
    summary = (
        f"{heading}  accepted {account.accepted} = stored {account.stored} + duplicate {account.duplicate} + suppressed "
        f"{account.suppressed} + quarantined {account.quarantined} + in flight {account.in_flight}"
        f"  profiles {figures.profiles}  merges {figures.merges}  transitions {figures.transitions}"
        f"  delivered {figures.deliveries.get('delivered', 0)}  received {scene.received}"
    )
    return f"{summary}\n         {sizes}" if sizes else summary


def scene_tables(scene: DemoScene, notes: tuple[str, ...]) -> Group:
    """Return the scene as tables."""
    title = Text(f"Onefold demo · {scene.phase} · {scene.seconds:.0f} s", style="bold")
    if scene.figures is None:
        return Group(title, Text(f"{scene.sent} events sent"))
    figures, account = scene.figures, scene.figures.account
    flow = _table(
        "Flow",
        {
            "events per second": f"{scene.rate:.0f}",
            "events sent": f"{scene.sent:,}",
            "profiles": f"{figures.profiles:,}",
            "merges": f"{figures.merges:,}",
            "entered": f"{figures.count_transitions('entered'):,}",
            "exited": f"{figures.count_transitions('exited'):,}",
            "… by time alone": f"{sum(figures.count_transitions(op, why='time') for op in ('entered', 'exited')):,}",
        },
    )
    sizes = _table(
        "Segments, with all who came and went",
        {
            name: (
                f"{figures.segments.get(name, 0):,}   "
                f"+{figures.count_transitions('entered', name):,} -{figures.count_transitions('exited', name):,}"
            )
            for name in figures.segment_names
        },
    )
    sends = _table("Deliveries", {
        **{state: f"{count:,}" for state, count in sorted(figures.deliveries.items())}, "at the receiver": f"{scene.received:,}",
    })  # fmt: skip
    account_table = _table("Account" + ("" if account.balanced else " (does not balance)"), {
        "accepted": f"{account.accepted:,}", "= stored": f"{account.stored:,}", "+ duplicate": f"{account.duplicate:,}",
        "+ suppressed": f"{account.suppressed:,}", "+ quarantined": f"{account.quarantined:,}",
        "+ in flight": f"{account.in_flight:,}",
    })  # fmt: skip
    return Group(title, Columns([flow, sizes, sends, account_table]), *(Text(note, style="dim") for note in notes))


def _table(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, min_width=22)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table
