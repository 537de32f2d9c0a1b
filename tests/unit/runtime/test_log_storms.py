"""A cause that repeats its lines does not fill the log, and what was left out is counted."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from runtime import log_storms
from runtime.log_storms import BURST_LINES, MAX_KINDS, SUPPRESSED, TOTAL_BURST_LINES, StormFilter


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def record(message: object, level: int = logging.WARNING, name: str = "aiokafka") -> logging.LogRecord:
    return logging.LogRecord(name, level, "file", 1, message, (), None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storm(clock: Clock) -> StormFilter:
    return StormFilter(clock)


def test_an_hour_of_one_cause_is_some_hundred_lines(clock: Clock, storm: StormFilter) -> None:
    written = 0
    for _ in range(60 * 5_500):
        written += storm.filter(record("Unable to connect to node %s"))
        clock.now_s += 60 / 5_500
    assert BURST_LINES < written < 300


def test_another_kind_of_line_is_written_in_the_middle_of_a_storm(storm: StormFilter) -> None:
    for _ in range(1_000):
        storm.filter(record("Unable to connect"))
    assert storm.filter(record("disk full"))
    assert storm.filter(record("Unable to connect", logging.ERROR))


def test_the_next_line_says_how_many_were_left_out(clock: Clock, storm: StormFilter) -> None:
    for _ in range(BURST_LINES + 7):
        storm.filter(record({"event": "publish_failed", "records": 3}))
        storm.filter(record("Unable to connect to %s"))
    clock.now_s += 60
    ours, theirs = record({"event": "publish_failed", "records": 4}), record("Unable to connect to %s")
    theirs.args = ("10.0.0.1",)
    assert storm.filter(ours)
    assert storm.filter(theirs)
    assert ours.msg == {"event": "publish_failed", "records": 4, SUPPRESSED: 7}
    assert theirs.getMessage() == "Unable to connect to 10.0.0.1 (7 lines like this one were left out)"


def test_lines_with_values_in_their_text_are_bounded_together(storm: StormFilter) -> None:
    written = sum(storm.filter(record(f"node {number} is away")) for number in range(5 * MAX_KINDS))
    assert written == TOTAL_BURST_LINES
    assert len(storm._kinds) <= MAX_KINDS  # what is remembered is bounded, too


def test_a_quiet_process_writes_every_line(clock: Clock, storm: StormFilter) -> None:
    for number in range(200):
        assert storm.filter(record(f"step {number}"))
        clock.now_s += 1


@pytest.fixture
def own_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("own_logs")
def test_the_log_of_a_process_is_bounded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.logs import configure, get_logger
    from runtime.settings import Settings

    monkeypatch.setattr(log_storms, "REFILL_S", 3_600.0)
    configure(Settings(), "collector")
    for _ in range(500):
        get_logger("collector").warning("publish_failed", error="no broker")
        logging.getLogger("aiokafka").error("Unable to connect to %s", "10.0.0.1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * BURST_LINES
