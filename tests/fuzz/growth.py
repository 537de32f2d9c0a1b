"""Measures that the processor time of every reader of text from outside grows with the length of the text and no faster.

Times are those of this process and not of the clock on the wall, each the least of several runs, and only a growth that no linear
function shows counts as broken: over sixteen times the length, more than `WORST_RATIO` times the time, above a time that can be
measured. A pattern that goes back shows 256 times.
"""

import contextlib
import random
import time
from collections import Counter
from typing import Final

from tests.fuzz.http import InvariantBroken
from tests.fuzz.text_readers import READERS, REFUSALS, Attack, Reader, attacks

SHORT_CHARS: Final = 4_000
FACTOR: Final = 16
WORST_RATIO: Final = 60.0
MEASURABLE_S: Final = 0.02
_RUNS: Final = 5


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Measure a pair of a reader and an attack for each ten inputs, and count them by reader; raises InvariantBroken."""
    rng = random.Random(seed)
    pairs = [(name, attack) for name in READERS for attack in attacks()]
    measured: Counter[str] = Counter()
    for name, attack in rng.sample(pairs, min(inputs // 10, len(pairs))):
        measure(name, READERS[name], attack)
        measured[name.partition(" ")[0]] += 1
    return measured


def measure(name: str, reader: Reader, attack: Attack) -> None:
    """Raise InvariantBroken when the time of a reader grows faster than the text."""
    short, long = attack.text(SHORT_CHARS), attack.text(SHORT_CHARS * FACTOR)
    long_s = _seconds(reader, long, 1)
    if long_s < MEASURABLE_S:
        return
    # Only what looks too slow at first is measured again and again: a collection of garbage may have come between.
    if long_s > WORST_RATIO * max(_seconds(reader, short, 1), MEASURABLE_S / WORST_RATIO):
        short_s, long_s = _seconds(reader, short, _RUNS), _seconds(reader, long, _RUNS)
        if long_s > max(MEASURABLE_S, WORST_RATIO * short_s):
            raise InvariantBroken(
                f"{name}: {FACTOR} times the text takes {long_s / max(short_s, 1e-6):.0f} times the time\n{attack}"
            )


def _seconds(reader: Reader, text: str, runs: int) -> float:
    """Return the least processor time of several runs."""
    return min(_run_s(reader, text) for _ in range(runs))


def _run_s(reader: Reader, text: str) -> float:
    started_s = time.process_time()
    with contextlib.suppress(*REFUSALS):
        reader(text)
    return time.process_time() - started_s
