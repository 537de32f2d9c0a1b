import io
from typing import Any

import pytest
from rich.console import Console

from ops.account import Account
from demo.verdict import Look, judge, movements
from demo.figures import Figures
from demo.screen import (Scene, Screen, line, tables)
from demo.run import DEFINITIONS
from ops.definition_files import check, read

BALANCED = Account(10, 8, 1, 0, 1, 0, balanced=True)
DUE = {"k1": "vip entered", "k2": "cart-open exited"}


def verdict(account: Account = BALANCED, sent: int = 10, failed: int = 0, **changes: Any) -> tuple[str, ...]:
    seen: dict[str, Any] = {"wanted": DUE, "received": frozenset({"k1", "k2", "other"}), "quiet": True}
    return judge(Look(Figures(account), **(seen | changes)), sent, failed).missing


def test_nothing_is_missing_when_all_balances_and_arrived() -> None:
    assert verdict() == ()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"received": frozenset({"k1"})}, "cart-open exited"),
        ({"sent": 12}, "2 are missing"),
        ({"failed": 3}, "3 events"),
        ({"quiet": False}, "come to rest"),
        ({"account": Account(10, 8, 1, 0, 0, 0, balanced=False)}, "does not balance"),
        ({"account": Account(10, 7, 1, 0, 1, 1, balanced=True)}, "does not balance"),
    ],
)
def test_whatever_is_missing_is_named(changes: dict[str, Any], names: str) -> None:
    missing = verdict(**changes)
    assert len(missing) == 1
    assert names in missing[0]


MOVES = {
    ("vip", "entered", "event"): 4, ("vip", "entered", "link"): 2, ("vip", "exited", "timer"): 7, ("gone", "exited", "merge"): 1,
}  # fmt: skip
SCENE = Scene("customers come in", 12, 480, 40, 9, Figures(BALANCED, 5, 2, {"vip": 3}, MOVES, {"delivered": 9}))


def test_without_a_terminal_a_scene_is_one_line() -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=80)) as screen:
        screen.show(SCENE)
        screen.show(SCENE)
    assert out.getvalue() == line(SCENE) + "\n"
    assert "accepted 10 = stored 8 + duplicate 1" in line(SCENE)


def test_on_a_terminal_the_tables_hold_the_same_figures() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(tables(SCENE, ("redis started again",)))
    for part in ("vip", "delivered", "quarantined", "merges", "redis started again"):
        assert part in out.getvalue()


def test_the_demos_definitions_are_sound() -> None:
    found = read(DEFINITIONS)
    check(found, {})
    assert {key.partition("/")[0] for key in found} == {"Source", "ComputedTrait", "Segment", "Destination"}


def test_moves_are_counted_by_what_caused_them() -> None:
    figures = Figures(BALANCED, segments={"new": 1}, moves=MOVES)
    assert figures.names == ["gone", "new", "vip"]
    assert (figures.transitions, figures.moved("entered"), figures.moved("exited", "vip")) == (14, 6, 7)
    assert [figures.moved("entered", "vip", why) for why in ("event", "time", "merge")] == [6, 0, 0]
    assert [figures.moved("exited", why=why) for why in ("event", "time", "merge")] == [0, 7, 1]
    out = io.StringIO()
    Console(file=out, width=100).print(movements(figures))
    assert "vip" in out.getvalue()
