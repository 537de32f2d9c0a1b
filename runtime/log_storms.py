"""Bound the lines of a log while something is away: one cause repeats the same few lines, thousands of times a minute.

A kind of line is its logger, its level and its text before values are put in. Each kind may write a burst of lines, then a line now
and then, and the next one that is written tells how many were left out before it. All kinds together have a bound too, since some
libraries put values into the text itself.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BURST_LINES: Final = 20
REFILL_S: Final = 15.0
"""After how long a kind may write one line more: four lines a minute."""
TOTAL_BURST_LINES: Final = 400
TOTAL_REFILL_S: Final = 0.2
"""After how long the process may write one line more of whatever kind: 300 a minute."""
MAX_KINDS: Final = 1_000
SUPPRESSED: Final = "lines_left_out"

Kind = tuple[str, int, str]


@dataclass(slots=True)
class _Allowance:
    """How many lines may be written now, and how many were left out since the last one that was."""

    lines: float
    at_s: float
    left_out: int = 0

    def take(self, now_s: float, burst: int, refill_s: float) -> bool:
        """Take one line if there is one."""
        self.lines = min(float(burst), self.lines + (now_s - self.at_s) / refill_s)
        self.at_s = now_s
        if self.lines < 1:
            return False
        self.lines -= 1
        return True


class StormFilter(logging.Filter):
    """The filter of a handler: it lets a line through, perhaps with the number of lines like it that were left out before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._total = _Allowance(TOTAL_BURST_LINES, clock())
        self._kinds: OrderedDict[Kind, _Allowance] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = self._clock()
        kind = _kind_of(record)
        allowance = self._kinds.setdefault(kind, _Allowance(BURST_LINES, now_s))
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        if not (allowance.take(now_s, BURST_LINES, REFILL_S) and self._total.take(now_s, TOTAL_BURST_LINES, TOTAL_REFILL_S)):
            allowance.left_out += 1
            return False
        if allowance.left_out:
            _say_left_out(record, allowance.left_out)
            allowance.left_out = 0
        return True


def _kind_of(record: logging.LogRecord) -> Kind:
    message = record.msg
    text = str(message.get("event", "")) if isinstance(message, dict) else str(message)
    return record.name, record.levelno, text[:200]


def _say_left_out(record: logging.LogRecord, count: int) -> None:
    if isinstance(record.msg, dict):  # a line of structlog is a dictionary until it is rendered
        record.msg = {**record.msg, SUPPRESSED: count}
    else:
        record.msg = f"{record.msg!s} ({count} lines like this one were left out)"
