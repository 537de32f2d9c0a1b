"""A sequence: one event, and another one after it, or not. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from domain.segments.comparisons import NEVER
from domain.segments.profile_facts import Answer, Facts
from domain.segments.leaf_models import SequenceLeaf
from domain.segments.registers import Entry, Register


def sequence(leaf: SequenceLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """Whether one of the picked first events is followed, or was not followed in time."""
    starts, follows = facts.entries(registers[0]), facts.entries(registers[1])
    if not starts:
        return Answer(0)
    start = None if leaf.first.within is None else now_ms - leaf.first.within
    candidates = [entry for entry in starts if entry[0] <= now_ms and (start is None or entry[0] > start)]
    past = [entry for entry in follows if entry[0] <= now_ms]
    picked = list(_picked(leaf.first.pick, candidates))
    fitting, waiting = _sorted_out(leaf, picked, past, now_ms)
    changes = [entry[0] for entry in (*starts, *follows) if entry[0] > now_ms]
    changes += _edges(leaf, candidates) if leaf.first.pick == "first" else _turns(leaf, fitting, waiting)
    seen = [entry for entry in past if start is None or entry[0] > start]
    return Answer(
        value=len(fitting),
        holds=bool(fitting),
        next_ms=min((change for change in changes if change > now_ms), default=NEVER),
        behind=fitting or picked[:1],
        approximate=_cut(registers[0], candidates) or _cut(registers[1], seen),
    )


def _picked(pick: str, candidates: Sequence[Entry]) -> Iterable[Entry]:
    """The first events that count, of each key: `candidates` are newest first."""
    if pick == "any":
        return candidates
    found: dict[Any, Entry] = {}
    for entry in candidates:
        if pick == "first" or entry[2] not in found:
            found[entry[2]] = entry
    return found.values()


def _sorted_out(leaf: SequenceLeaf, picked: Iterable[Entry], past: Sequence[Entry], now_ms: int) -> tuple[list[Entry], list[Entry]]:
    """Those that fit, and those whose time for being followed is not up yet."""
    length = leaf.second.within
    fitting: list[Entry] = []
    waiting: list[Entry] = []
    for entry in picked:
        if _followed(entry, past, length):
            if leaf.then is not None:
                fitting.append(entry)
        elif leaf.then is None:
            (fitting if length is None or now_ms >= entry[0] + length else waiting).append(entry)
    return fitting, waiting


def _followed(first: Entry, follows: Iterable[Entry], length: int | None) -> bool:
    at_ms, _, key = first
    return any(entry[0] > at_ms and entry[2] == key and (length is None or entry[0] <= at_ms + length) for entry in follows)


def _turns(leaf: SequenceLeaf, fitting: Iterable[Entry], waiting: Iterable[Entry]) -> Iterator[int]:
    """When one that fits leaves the window, and when one that waits comes to fit, if it is in the window then."""
    within, length = leaf.first.within, leaf.second.within
    if within is not None:
        yield from (entry[0] + within for entry in fitting)
    if length is not None and (within is None or length < within):
        yield from (entry[0] + length for entry in waiting)


def _edges(leaf: SequenceLeaf, candidates: Iterable[Entry]) -> Iterator[int]:
    """When one leaves the window, so that another one may be the first, and when its time for being followed is up."""
    lengths = (leaf.first.within, leaf.second.within if leaf.then is None else None)
    return (entry[0] + length for entry in candidates for length in lengths if length is not None)


def _cut(register: Register, entries: Sequence[Entry]) -> bool:
    return len(entries) >= register.keep
