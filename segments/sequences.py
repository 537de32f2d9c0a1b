"""A sequence: one event, and another one after it, or not. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from segments.conditions import NEVER
from segments.facts import Answer, Facts
from segments.leaves import SequenceLeaf
from segments.registers import Entry, Register


def sequence(leaf: SequenceLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """Whether one of the picked first events is followed, or was not followed in time."""
    starts, follows = (facts.entries(register) for register in registers)
    start = None if leaf.first.within is None else now_ms - leaf.first.within
    candidates = [entry for entry in starts if entry[0] <= now_ms and (start is None or entry[0] > start)]
    past = [entry for entry in follows if entry[0] <= now_ms]
    picked = list(_picked(leaf.first.pick, candidates))
    fitting = [entry for entry in picked if _fits(leaf, entry, past, now_ms)]
    changes = [entry[0] for entry in (*starts, *follows) if entry[0] > now_ms]
    for entry in candidates:
        if leaf.first.within is not None:
            changes.append(entry[0] + leaf.first.within)
        if leaf.then_not is not None and leaf.then_not.within is not None:
            changes.append(entry[0] + leaf.then_not.within)
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


def _fits(leaf: SequenceLeaf, first: Entry, follows: Iterable[Entry], now_ms: int) -> bool:
    length, second = leaf.second.within, leaf.then_not is None
    if leaf.then_not is not None and length is not None and now_ms < first[0] + length:
        return False
    followed = any(
        entry[0] > first[0] and entry[2] == first[2] and (length is None or entry[0] <= first[0] + length) for entry in follows
    )
    return followed is second


def _cut(register: Register, entries: Sequence[Entry]) -> bool:
    return len(entries) >= register.keep
