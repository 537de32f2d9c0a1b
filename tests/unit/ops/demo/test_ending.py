import io
from typing import Any

import pytest
from rich.console import Console

from ops.account import Account
from ops.demo.ending import judge
from ops.demo.figures import Figures
from ops.demo.live import Scene, Screen, line, tables
from ops.demo.run import DEFINITIONS
from ops.documents import check, read

BALANCED = Account(10, 8, 1, 0, 1, 0, balanced=True)
DUE = {"k1": "vip entered", "k2": "cart-open exited"}


def verdict(account: Account = BALANCED, **changes: Any) -> tuple[str, ...]:
    given: dict[str, Any] = {"sent": 10, "failed": 0, "wanted": DUE, "received": {"k1", "k2", "other"}, "drained": True}
    return judge(Figures(account), **(given | changes)).missing


def test_nothing_is_missing_when_all_balances_and_arrived() -> None:
    assert verdict() == ()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"received": {"k1"}}, "cart-open exited"),
        ({"sent": 12}, "2 are missing"),
        ({"failed": 3}, "3 events"),
        ({"drained": False}, "come to rest"),
        ({"account": Account(10, 8, 1, 0, 0, 0, balanced=False)}, "does not balance"),
        ({"account": Account(10, 7, 1, 0, 1, 1, balanced=True)}, "does not balance"),
    ],
)
def test_whatever_is_missing_is_named(changes: dict[str, Any], names: str) -> None:
    missing = verdict(**changes)
    assert len(missing) == 1
    assert names in missing[0]


SCENE = Scene("customers come in", 12, 480, 40, 9, Figures(BALANCED, 5, 2, {"vip": 3}, {"entered": 4}, {"delivered": 9}))


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
    assert {key.partition("/")[0] for key in found} == {"Source", "Segment", "Destination"}
