"""A sequence: one event, and another one after it, or not. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from domain.segments.leaf_models import SequenceLeaf
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from schemas.instants import NEVER


def evaluate_sequence(leaf: SequenceLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """Whether one of the picked first events is followed, or was not followed in time."""
    starts, follows = facts.entries(registers[0]), facts.entries(registers[1])
    if not starts:
        return LeafResult(0)
    start = None if leaf.first.within is None else now_ms - leaf.first.within
    candidates = [entry for entry in starts if entry[0] <= now_ms and (start is None or entry[0] > start)]
    past = [entry for entry in follows if entry[0] <= now_ms]
    picked = list(_picked_starts(leaf.first.pick, candidates))
    fitting, waiting = _fitting_and_waiting(leaf, picked, past, now_ms)
    changes = [entry[0] for entry in (*starts, *follows) if entry[0] > now_ms]
    changes += (
        _first_pick_change_instants(leaf, candidates) if leaf.first.pick == "first" else _change_instants(leaf, fitting, waiting)
    )
    follows_in_window = [entry for entry in past if start is None or entry[0] > start]
    return LeafResult(
        value=len(fitting),
        holds=bool(fitting),
        next_change_ms=min((change for change in changes if change > now_ms), default=NEVER),
        entries=fitting or picked[:1],
        is_approximate=_is_at_capacity(registers[0], candidates) or _is_at_capacity(registers[1], follows_in_window),
    )


def _picked_starts(pick: str, candidates: Sequence[Entry]) -> Iterable[Entry]:
    """The first events that count, of each key: `candidates` are newest first."""
    if pick == "any":
        return candidates
    by_key: dict[Any, Entry] = {}
    for entry in candidates:
        if pick == "first" or entry[2] not in by_key:
            by_key[entry[2]] = entry
    return by_key.values()


def _fitting_and_waiting(
    leaf: SequenceLeaf, picked: Iterable[Entry], past: Sequence[Entry], now_ms: int
) -> tuple[list[Entry], list[Entry]]:
    """Those that fit, and those whose time for being followed is not up yet."""
    length = leaf.follow_up.within
    fitting: list[Entry] = []
    waiting: list[Entry] = []
    for entry in picked:
        if _is_followed(entry, past, length):
            if leaf.then is not None:
                fitting.append(entry)
        elif leaf.then is None:
            (fitting if length is None or now_ms >= entry[0] + length else waiting).append(entry)
    return fitting, waiting


def _is_followed(start: Entry, follows: Iterable[Entry], length: int | None) -> bool:
    at_ms, _, key = start
    return any(entry[0] > at_ms and entry[2] == key and (length is None or entry[0] <= at_ms + length) for entry in follows)


def _change_instants(leaf: SequenceLeaf, fitting: Iterable[Entry], waiting: Iterable[Entry]) -> Iterator[int]:
    """When one that fits leaves the window, and when one that waits comes to fit, if it is in the window then."""
    within, length = leaf.first.within, leaf.follow_up.within
    if within is not None:
        yield from (entry[0] + within for entry in fitting)
    if length is not None and (within is None or length < within):
        yield from (entry[0] + length for entry in waiting)


def _first_pick_change_instants(leaf: SequenceLeaf, candidates: Iterable[Entry]) -> Iterator[int]:
    """When one leaves the window, so that another one may be the first, and when its time for being followed is up."""
    lengths = (leaf.first.within, leaf.follow_up.within if leaf.then is None else None)
    return (entry[0] + length for entry in candidates for length in lengths if length is not None)


def _is_at_capacity(register: Register, entries: Sequence[Entry]) -> bool:
    return len(entries) >= register.capacity
