"""Fuzzes with several seeds in parallel (`python -m tests.fuzz`).

A broken invariant is printed with its input, and the exit status is 1.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tests.fuzz import definitions, growth, http, records, replays, statements

INPUTS: Final = 300_000
_SLICE: Final = 10_000
KINDS: Final = {
    "http": http.fuzz, "records": records.fuzz, "replays": replays.fuzz, "definitions": definitions.fuzz, "growth": growth.fuzz,
    "statements": statements.fuzz,
}  # fmt: skip
_TURNS: Final = ("records", "http", "records", "http", "replays", "definitions", "growth", "statements")


def print_line(line: str) -> None:
    """Tell the terminal."""
    sys.stderr.write(f"{line}\n")


def run(kind: str, seed: int, inputs: int) -> Counter[str]:
    """Run one share of the inputs; raises InvariantBroken."""
    logging.disable(logging.CRITICAL)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - the process's own: its logs go there
    return asyncio.run(KINDS[kind](seed, inputs))


def main() -> None:
    """Fuzz as the command line asks, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    shares = [
        (_TURNS[number % len(_TURNS)], given.seed + number, min(_SLICE, given.inputs - start))
        for number, start in enumerate(range(0, given.inputs, _SLICE))
    ]
    started, seen, done, broken = time.monotonic(), Counter[str](), 0, 0
    with ProcessPoolExecutor(given.processes) as pool:
        running = {pool.submit(run, *share): share for share in shares}
        for future in as_completed(running):
            kind, seed, inputs = running[future]
            if (error := future.exception()) is not None:
                broken += 1
                print_line(f"BROKEN {kind} seed {seed}: {error}")
                continue
            done += inputs
            seen += Counter({f"{kind}: {name}": count for name, count in future.result().items()})
            print_line(f"{done:>9,} inputs, {time.monotonic() - started:6.0f} s")
    for name, count in sorted(seen.items()):
        print_line(f"{name:<40} {count:>10,}")
    print_line(f"{done:,} inputs without a fault in {time.monotonic() - started:.0f} s; {broken} shares broken")
    sys.exit(1 if broken or done < given.inputs else 0)


if __name__ == "__main__":
    main()
