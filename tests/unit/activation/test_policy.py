from typing import get_args

import pytest

from activation.policy import decide
from schemas.records import Cause, TransitionOp
from tests.support.transitions import destination, transition

LIVE = {"event", "link", "timer", "group"}


@pytest.mark.parametrize("cause", get_args(Cause))
@pytest.mark.parametrize("op", get_args(TransitionOp))
@pytest.mark.parametrize("segment", ["vip", "hanoi"])
@pytest.mark.parametrize("on", [["entered"], ["exited"], ["entered", "exited"]])
def test_every_case_has_one_verdict(cause: str, op: str, segment: str, on: list[str]) -> None:
    verdict = decide(transition(cause=cause, op=op, segment=segment), destination(triggers=[{"segment": "vip", "on": on}]))
    if segment != "vip" or op not in on:
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.action == ("send" if cause in LIVE else "skip")
        assert verdict.reason == ("due" if cause in LIVE else f"silent_cause:{cause}")


def test_any_of_several_triggers_is_enough() -> None:
    hook = destination(triggers=[{"segment": "vip", "on": ["exited"]}, {"segment": "vip", "on": ["entered"]}])
    assert decide(transition(), hook) is not None


@pytest.mark.parametrize("cause", get_args(Cause))
@pytest.mark.parametrize("op", get_args(TransitionOp))
def test_destination_may_include_backfilled_members(cause: str, op: str) -> None:
    hook = destination(triggers=[{"segment": "vip", "on": ["entered", "exited"]}], on_backfill="send")
    verdict = decide(transition(cause=cause, op=op), hook)
    assert verdict is not None
    assert verdict.action == ("send" if cause in LIVE | {"backfill"} else "skip")
