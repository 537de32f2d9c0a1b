"""Registers: the bounded state behind leaves and computed traits, a join of sets cut to their best. Pure.

A *kept* register is a set of entries of which the best `keep` stay, so its join is commutative, associative and idempotent. A
*tally* counts and sums over all time; like a counter it adds up over fragments, and each event is counted once in its owner's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from schemas.events import Event
from schemas.hashes import text_hash
from domain.segments.comparisons import (PropertyCondition, holds, kind_of, lookup, nfc)
from domain.segments.language import content_hash

Entry = tuple[int, str, Any]
"""(what entries are ordered by: a time in ms, a period's index, an amount; what tells equals apart; what is kept with it)."""

Count = tuple[int, int, int]
"""How many, and the sum of their amounts as (high, low) with sum = high x 10^15 + low."""

Form = Literal["newest", "oldest", "newest_of_each", "periods", "largest", "smallest", "tally"]
Take = Literal["nothing", "amount", "amount_or_nothing", "value", "key", "having", "consent", "subscription"]

SLACK_MS: Final = 3_600_000
"""Entries outlive their window by so much, so that a clock that is behind misses none."""
AMOUNT: Final = 10**6
"""Amounts are kept as whole millionths, so that sums are exact in any order."""
MAX_AMOUNT: Final = 10**12
MAX_KEY_CHARS: Final = 64
"""A longer key of a sequence is kept as its hash: only whether two are the same is ever asked."""
_HALF: Final = 10**15
CONSENT_EVENT: Final = "Segment Consent Preference Updated"


@dataclass(frozen=True, slots=True)
class Register:
    """Which events it takes an entry from, what is kept of each, and how many stay.

    `horizon_ms`: entries so much older than the newest are dropped. `period_ms` and `offset_ms` are for `periods`. Leaves over
    the same events and values share a register: its key says all but how much is kept.
    """

    event: str
    where: tuple[PropertyCondition, ...]
    form: Form
    take: Take = "nothing"
    of: tuple[str, ...] = ()
    having: tuple[PropertyCondition, ...] = ()
    keep: int = 1
    horizon_ms: int | None = None
    period_ms: int = 0
    offset_ms: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        wanted = [
            self.event, [c.model_dump(mode="json") for c in self.where], self.form, self.take, self.of,
            [c.model_dump(mode="json") for c in self.having], self.period_ms, self.offset_ms,
        ]  # fmt: skip
        object.__setattr__(self, "key", content_hash(wanted))

    def with_room_of(self, other: "Register") -> "Register":
        """The same register, large enough for both."""
        horizons = (self.horizon_ms, other.horizon_ms)
        horizon = None if None in horizons else max(h for h in horizons if h is not None)
        return replace(self, keep=max(self.keep, other.keep), horizon_ms=horizon)

    def entry(self, event: Event, tie: str) -> Entry | None:
        """What an event of this name adds; None when it is not one of those meant. `tie` is the message's."""
        properties = event.properties
        if not all(holds(condition, lookup(properties, condition.prop)) for condition in self.where):
            return None
        taken = _take(self, event)
        if taken is None:
            return None
        value = None if taken is _NOTHING else taken
        match self.form:
            case "newest" | "oldest":
                # Of two of one instant the one that takes back wins.
                first = str(int(value is False)) if self.take in ("consent", "subscription") else ""
                return event.time_ms, first + tie, value
            case "newest_of_each":
                return event.time_ms, text_hash(canonical(value) or ""), value
            case "periods":
                return (event.time_ms + self.offset_ms) // self.period_ms, "", None
            case "largest" | "smallest":
                return int(taken), "", None
            case "tally":
                return (0, canonical(value) or "", None) if self.take == "value" else (0, "", value)

    def add(self, kept: Sequence[Entry], entry: Entry) -> Sequence[Entry]:
        """The kept entries and one more."""
        if kept and self.form in ("newest", "periods"):
            mine, newest = entry[:2], kept[0][:2]
            if mine == newest or (len(kept) == self.keep and mine <= kept[-1][:2]):
                return kept
            if mine > newest and self.is_cut(kept):
                added = [entry, *kept[: self.keep - 1]]
                return added if self.is_cut(added) else self.join((added,))
        return self.join((kept, (entry,)))

    def join(self, parts: Iterable[Sequence[Entry]]) -> list[Entry]:
        """The best `keep` of the union, the best first."""
        best: dict[Any, Entry] = {}
        each = self.form == "newest_of_each"
        for part in parts:
            for entry in part:
                name = entry[1] if each else entry[:2]
                held = best.get(name)
                if held is None or entry[0] > held[0]:
                    best[name] = tuple(entry)
        ordered = sorted(best.values(), key=_order, reverse=self.form not in ("oldest", "smallest"))
        if self.horizon_ms is not None and ordered:
            oldest = ordered[0][0] - self.horizon_ms
            ordered = [entry for entry in ordered if entry[0] > oldest]
        return ordered[: self.keep]

    def is_cut(self, kept: Sequence[Entry]) -> bool:
        """Whether nothing of what was kept has to be left out: a register that is smaller by now may have too much."""
        within = self.horizon_ms is None or not kept or kept[-1][0] > kept[0][0] - self.horizon_ms
        return within and len(kept) <= self.keep


_NOTHING: Final = object()


def _order(entry: Entry) -> tuple[int, str]:
    return entry[0], entry[1]


def _take(register: Register, event: Event) -> Any:
    """What is kept of an event, None when it has none of it."""
    match register.take:
        case "nothing":
            return _NOTHING
        case "amount" | "amount_or_nothing":
            amount = amount_of(lookup(event.properties, register.of[0]))
            return 0 if amount is None and register.take == "amount_or_nothing" else amount
        case "value":
            text = canonical(lookup(event.properties, register.of[0]))
            return None if text is None else value_of(text)
        case "key":
            parts = [canonical(lookup(event.properties, path)) for path in register.of]
            if None in parts:
                return None
            text = "\n".join(_line(part or "") for part in parts)
            return text if len(text) <= MAX_KEY_CHARS else f"#{text_hash(text)}"
        case "having":
            return all(holds(condition, lookup(event.properties, condition.prop)) for condition in register.having)
        case "consent":
            given = lookup(event.context, "consent.categoryPreferences")
            said = given.get(register.of[0]) if isinstance(given, Mapping) else None
            return said if isinstance(said, bool) else None
        case "subscription":
            return _subscription(event.context.get("messaging_subscriptions"), register.of[0])


def _line(part: str) -> str:
    return part.replace("\\", "\\\\").replace("\n", "\\n")


def _subscription(said: Any, channel: str) -> bool | None:
    """Whether a list of subscriptions says of a channel that it is subscribed; False wins within one event."""
    found = [
        one.get("status") == "SUBSCRIBED"
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, Mapping)
        and isinstance(one.get("type"), str)
        and one["type"].lower() == channel.lower()
        and one.get("status") in ("SUBSCRIBED", "UNSUBSCRIBED", "DID_NOT_SUBSCRIBE")
    ]
    return all(found) if found else None


def amount_of(value: Any) -> int | None:
    """A number in whole millionths, None for anything else and for what is beyond MAX_AMOUNT."""
    if kind_of(value) != "number" or not -MAX_AMOUNT <= float(value) <= MAX_AMOUNT:
        return None
    return millionths(float(value))


def millionths(number: float) -> int:
    """A number in whole millionths, half to even: exact in front of the point, where a product of floats is not."""
    whole = math.trunc(number)
    return whole * AMOUNT + round((number - whole) * AMOUNT)


def number_of(amount: int) -> int | float:
    """The number that an amount in millionths is."""
    return amount // AMOUNT if amount % AMOUNT == 0 else amount / AMOUNT


def canonical(value: Any) -> str | None:
    """The one text of a text, number or boolean, its kind first; None for anything else."""
    match kind_of(value):
        case "text":
            return f"s{nfc(value)}"
        case "number":
            number = float(value)
            return f"n{int(number) if number.is_integer() and abs(number) < 1e15 else number!r}"
        case "boolean":
            return f"b{str(value).lower()}"
        case _:
            return None


def value_of(text: str) -> Any:
    """The value whose canonical text this is."""
    if text[0] == "s":
        return text[1:]
    if text[0] == "b":
        return text[1:] == "true"
    number = float(text[1:])
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def count(tally: dict[str, Count], entry: Entry, keep: int) -> None:
    """Count an entry. Of more than `keep` different values those with the smallest hashes are counted, whatever their order."""
    _, value, amount = entry
    _add(tally, value, (1, *divmod(amount or 0, _HALF)))
    _bound(tally, keep)


def add_up(tallies: Iterable[Mapping[str, Count]], keep: int) -> dict[str, Count]:
    """The tallies of several fragments together."""
    total: dict[str, Count] = {}
    for tally in tallies:
        for value, counted in tally.items():
            _add(total, value, counted)
    _bound(total, keep)
    return dict(sorted(total.items()))


def _add(tally: dict[str, Count], value: str, more: Iterable[int]) -> None:
    times, high, low = more
    held = tally.get(value, (0, 0, 0))
    tally[value] = (held[0] + times, *divmod((held[1] + high) * _HALF + held[2] + low, _HALF))


def _bound(tally: dict[str, Count], keep: int) -> None:
    while len(tally) > keep:
        del tally[max(tally, key=lambda value: (text_hash(value), value))]


def sum_of(counted: Count) -> int:
    """The sum, in millionths."""
    return counted[1] * _HALF + counted[2]
