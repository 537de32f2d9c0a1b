"""How often each value of a property came, in bounded space: exact up to a number of values, a sketch beyond. Pure.

**Why.** "The most frequent category" over all time cannot store a count for every category that a customer ever saw. A choice of
some values to count misses the favourite; a choice by first come or by "evict the rarest" (Misra-Gries, Space-Saving) depends on
the order of arrival, and a rebuilt store would differ from the old one.

**Invariant.** The counts are a function of the set of events: any order and any grouping into fragments give the same bytes. Three
facts hold it. Up to `capacity` different values all are counted. Beyond that the counts are a Count-Min sketch: a linear map of
the exact ones, so that adding sketches, or adding a value's events one by one, or turning exact counts into a sketch first and
adding then, is all the same sum. And the values that are remembered by name are those with the smallest hash of any of their
events: the smallest of a union is the smallest of the parts. Whether the capacity was exceeded depends on the set alone too.

**Error.** A count from the sketch is never too small. It is too large by more than e / 512 = 0.53 % of all counted events with a
probability of at most e^-3 = 5 %. Each event is as likely as any other to have a small hash, so a frequent value is remembered
almost certainly: one with the share p of the events is missing with a probability of at most (1 - p)^(2 x capacity), that is
0.2 % for 3 % of the events and a capacity of 101. So the answer is a most frequent value but for those bounds.

**Example.** Capacity 2. Events of A (hash 7), B (hash 3), A (hash 5): {A: 2 times, smallest hash 5; B: once, 3}. An event of C
(hash 9) is one value too many. The counts go into the cells of the sketch, and the names stay with their hashes: the estimate of A
is the smallest of its three cells, which is 2 unless B or C share all of them.

A tally maps the canonical text of a value to (times, smallest hash, 0). A sketch has 0 as `times`, and two kinds of keys more: `#0`
to `#511` map to the cells of that column, one for each row, and `#` maps to (all events, the largest of the remembered hashes once
there is no room for more names, else 0, 0). Canonical texts begin with a letter, so they cannot be confused.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.hashes import text_hash

SKETCH_COLUMNS: Final = 512
SKETCH_ROWS: Final = 3
REMEMBERED_PER_CAPACITY: Final = 2
"""How many values a sketch remembers for each value that is counted exactly."""
TOTAL_KEY: Final = "#"
Cells = tuple[int, int, int]


def smallest_hash(tie_breaker: str) -> int:
    """Return the first 8 digits of a message's hash as a number: by it the remembered values are chosen."""
    return int.from_bytes(tie_breaker[:8].encode())


def count_value(tally: dict[str, Cells], value: str, event_hash: int, capacity: int) -> None:
    """Count one event of a value, in place."""
    if is_sketch(tally):
        _add_to_cells(tally, value, 1)
        largest = tally[TOTAL_KEY][1]
        # Most events change no remembered hash, so the names need not be looked through.
        if event_hash >= (tally[value][1] if value in tally else largest + 1 if largest else event_hash + 1):
            return
    _add(tally, {value: (0 if is_sketch(tally) else 1, event_hash, 0)})
    _trim(tally, capacity)


def uncount_value(tally: dict[str, Cells], value: str) -> None:
    """Take one event of a value back, in place. Which values a sketch remembers stays as it is."""
    if is_sketch(tally):
        _add_to_cells(tally, value, -1)
    elif value in tally:
        times, event_hash, _ = tally[value]
        tally[value] = (times - 1, event_hash, 0)
        if times <= 1:
            del tally[value]


def sum_value_counts(tallies: Iterable[Mapping[str, Cells]], capacity: int) -> dict[str, Cells]:
    """Return the tallies of several fragments added up, in the order of their keys."""
    total: dict[str, Cells] = {}
    for tally in tallies:
        _add(total, tally)
    _trim(total, capacity)
    return dict(sorted(total.items()))


def is_sketch(tally: Mapping[str, Cells]) -> bool:
    """Return whether there were too many different values to count each of them."""
    return TOTAL_KEY in tally


def counts_of(tally: Mapping[str, Cells]) -> dict[str, int]:
    """Return how often each remembered value came; of a sketch these are estimates that are never too small."""
    if not is_sketch(tally):
        return {value: cells[0] for value, cells in tally.items()}
    return {value: min(tally[column][row] for row, column in enumerate(_columns_of(value))) for value in _remembered(tally)}


def events_counted(tally: Mapping[str, Cells]) -> int:
    """Return how many events were counted in all."""
    return tally[TOTAL_KEY][0] if is_sketch(tally) else sum(cells[0] for cells in tally.values())


def _remembered(tally: Mapping[str, Cells]) -> list[str]:
    return [key for key in tally if key[0] != "#"]


def _add(total: dict[str, Cells], added: Mapping[str, Cells]) -> None:
    """Add a tally to a total, in place. When one of them is a sketch, so is the result."""
    if is_sketch(added) and not is_sketch(total):
        _to_sketch(total)
    total_is_sketch = is_sketch(total)
    for key, (first, second, third) in added.items():
        if key[0] == "#":
            cells = total.get(key, (0, 0, 0))
            total[key] = (cells[0] + first, cells[1] + second, cells[2] + third)
            continue
        times, event_hash, _ = total.get(key, (0, second, 0))
        total[key] = (0 if total_is_sketch else times + first, min(event_hash, second), 0)
        if total_is_sketch and first:
            _add_to_cells(total, key, first)


def _trim(tally: dict[str, Cells], capacity: int) -> None:
    if not is_sketch(tally):
        if len(tally) <= capacity:
            return
        _to_sketch(tally)
    room = capacity * REMEMBERED_PER_CAPACITY
    by_hash = sorted((tally[value][1], value) for value in _remembered(tally))
    for _, value in by_hash[room:]:
        del tally[value]
    tally[TOTAL_KEY] = (tally[TOTAL_KEY][0], by_hash[room - 1][0] if len(by_hash) >= room else 0, 0)


def _to_sketch(tally: dict[str, Cells]) -> None:
    values = list(tally.items())
    tally[TOTAL_KEY] = (0, 0, 0)
    for value, (times, event_hash, _) in values:
        _add_to_cells(tally, value, times)
        tally[value] = (0, event_hash, 0)


def _add_to_cells(tally: dict[str, Cells], value: str, times: int) -> None:
    events, largest, _ = tally[TOTAL_KEY]
    tally[TOTAL_KEY] = (events + times, largest, 0)
    for row, column in enumerate(_columns_of(value)):
        cells = list(tally.get(column, (0, 0, 0)))
        cells[row] += times
        tally[column] = (cells[0], cells[1], cells[2])


def _columns_of(value: str) -> list[str]:
    """Return the column of a value in each row. The rows use different bits of one hash, so they are independent."""
    bits = int(text_hash(value), 16)
    return [f"#{(bits >> (20 * row)) % SKETCH_COLUMNS}" for row in range(SKETCH_ROWS)]
