import io
from typing import Any

import pytest
from rich.console import Console

from demo.figures import Figures
from demo.run import DEFINITIONS
from demo.screen import DemoScene, DemoScreen, scene_line, scene_tables
from demo.verdict import DemoObservation, judge, movement_table
from domain.intake.event_account import EventAccount
from ops.definition_files import read_definitions, require_consistent

BALANCED = EventAccount(10, 8, 1, 0, 1, 0, balanced=True)
DUE = {"k1": "vip entered", "k2": "cart-open exited"}


def verdict(account: EventAccount = BALANCED, sent: int = 10, failed: int = 0, **changes: Any) -> tuple[str, ...]:
    observed: dict[str, Any] = {"due_deliveries": DUE, "received": frozenset({"k1", "k2", "other"}), "quiet": True}
    return judge(DemoObservation(Figures(account), **(observed | changes)), sent, failed).missing


def test_demo_verdict_is_ok_when_balanced_and_delivered() -> None:
    assert verdict() == ()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"received": frozenset({"k1"})}, "cart-open exited"),
        ({"sent": 12}, "2 are missing"),
        ({"failed": 3}, "3 events"),
        ({"quiet": False}, "come to rest"),
        ({"account": EventAccount(10, 8, 1, 0, 0, 0, balanced=False)}, "does not balance"),
        ({"account": EventAccount(10, 7, 1, 0, 1, 1, balanced=True)}, "does not balance"),
    ],
)
def test_demo_verdict_names_what_is_missing(changes: dict[str, Any], names: str) -> None:
    missing = verdict(**changes)
    assert len(missing) == 1
    assert names in missing[0]


MOVES = {
    ("vip", "entered", "event"): 4, ("vip", "entered", "link"): 2, ("vip", "exited", "timer"): 7, ("gone", "exited", "merge"): 1,
}  # fmt: skip
SCENE = DemoScene("customers come in", 12, 480, 40, 9, Figures(BALANCED, 5, 2, {"vip": 3}, MOVES, {"delivered": 9}))


def test_without_a_terminal_a_scene_is_one_line() -> None:
    out = io.StringIO()
    with DemoScreen(Console(file=out, width=80)) as screen:
        screen.show(SCENE)
        screen.show(SCENE)
    assert out.getvalue() == scene_line(SCENE) + "\n"
    assert "accepted 10 = stored 8 + duplicate 1" in scene_line(SCENE)


def test_on_a_terminal_the_tables_hold_the_same_figures() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(scene_tables(SCENE, ("redis started again",)))
    for part in ("vip", "delivered", "quarantined", "merges", "redis started again"):
        assert part in out.getvalue()


def test_the_demos_definitions_are_sound() -> None:
    results = read_definitions(DEFINITIONS)
    require_consistent(results, {})
    assert {key.partition("/")[0] for key in results} == {"Source", "ComputedTrait", "Segment", "Destination"}


def test_moves_are_counted_by_what_caused_them() -> None:
    figures = Figures(BALANCED, segments={"new": 1}, transition_counts=MOVES)
    assert figures.segment_names == ["gone", "new", "vip"]
    assert figures.transitions == 14
    assert figures.count_transitions("entered") == 6
    assert figures.count_transitions("exited", "vip") == 7
    assert [figures.count_transitions("entered", "vip", why) for why in ("event", "time", "merge")] == [6, 0, 0]
    assert [figures.count_transitions("exited", why=why) for why in ("event", "time", "merge")] == [0, 7, 1]
    out = io.StringIO()
    Console(file=out, width=100).print(movement_table(figures))
    assert "vip" in out.getvalue()
