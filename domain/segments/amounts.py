"""Numbers over events, exact in whole millionths, for the leaf `aggregate` and the computed traits sum, avg, min and max. Pure.

Without a window nothing but the number itself is stored: a tally adds up, and of the smallest or largest one entry is enough. In a
window the newest amounts are stored one by one, because each of them leaves the window at an instant of its own.
"""

from collections.abc import Sequence
from typing import Final

from domain.segments.event_filter import EventFilter, newest_register
from domain.segments.profile_facts import ProfileFacts
from domain.segments.registers import Entry, Register, RegisterForm, tally_sum
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of
from domain.segments.windows import entries_in_window
from schemas.instants import NEVER

NO_AMOUNTS: Final[tuple[int, int, int, Sequence[Entry]]] = (0, 0, NEVER, ())


def amount_registers(events: EventFilter, function: str, prop: str, retained_events: int) -> tuple[Register, ...]:
    """Return the register behind `function` (sum, avg, min, max) of the amounts of `prop`."""
    if events.within is not None:
        # One place more than asked for: when that one is taken too, the answer may be an approximation, and is marked as one.
        return (newest_register(events, retained_events + 1, extract="amount", paths=(prop,)),)
    forms: dict[str, RegisterForm] = {"min": "smallest", "max": "largest"}
    return (Register(events.event, events.where, forms.get(function, "tally"), "amount", (prop,)),)


def aggregate_amounts(
    function: str, within: int | None, register: Register, facts: ProfileFacts, now_ms: int
) -> tuple[int, int, int, Sequence[Entry]]:
    """Return (the sum, smallest or largest amount in millionths; how many amounts; the next change in ms; the entries)."""
    if register.form == "tally":
        tally_count = facts.tallies.get(register.key, {}).get("")
        return NO_AMOUNTS if tally_count is None else (tally_sum(tally_count), tally_count[0], NEVER, ())
    if within is None:
        entry = next(iter(facts.entries(register)), None)
        return NO_AMOUNTS if entry is None else (entry[0], 1, NEVER, [entry])
    in_window = entries_in_window(facts.entries(register), within, now_ms)
    values = [entry[2] for entry in in_window.entries]
    total = 0 if not values else min(values) if function == "min" else max(values) if function == "max" else sum(values)
    return total, len(values), in_window.next_change_ms, in_window.entries


def amount_columns(columns: ProfileColumns, events: EventFilter, function: str, prop: str) -> tuple[str, str]:
    """Write (the sum, smallest or largest amount in millionths as Int128; how many amounts) as columns of a profile."""
    value = columns.property_value(columns.matches_event(events.event, events.where, events.within), prop)
    has_amount = columns.event_column(f"is_amount({value})")
    amount = columns.event_column(f"if({has_amount}, toInt128(amount_of({value})), 0)")
    condition = all_of([has_amount, columns.is_in_window(events.within)])
    aggregate_function = {"min": "minIf", "max": "maxIf"}.get(function, "sumIf")
    return columns.profile_column(f"{aggregate_function}({amount}, {condition})"), columns.profile_column(f"countIf({condition})")
