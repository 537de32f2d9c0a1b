"""Registers: the bounded state behind leaves and computed traits, a join of sets cut to their best. Pure.

A *kept* register is a set of entries of which the best `capacity` stay, so its join is commutative, associative and idempotent. A
*tally* counts and sums over all time; like a counter it adds up over fragments, and each event is counted once in its owner's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from domain.segments.comparisons import PropertyComparison, holds, lookup, normalise_nfc, value_kind
from schemas.events import Event
from schemas.hashes import content_hash, text_hash

Entry = tuple[int, str, Any]
"""(what entries are ordered by: a time in ms, a period's index, an amount; what tells equals apart; what is kept with it)."""

TallyCount = tuple[int, int, int]
"""How many, and the sum of their amounts as (high, low) with sum = high x 10^15 + low."""

RegisterForm = Literal["newest", "oldest", "newest_of_each", "periods", "largest", "smallest", "tally"]
Extraction = Literal["nothing", "amount", "amount_or_nothing", "value", "key", "having", "consent", "subscription"]

HORIZON_SLACK_MS: Final = 3_600_000
"""Entries outlive their window by so much, so that a clock that is behind misses none."""
AMOUNT_SCALE: Final = 10**6
"""Amounts are kept as whole millionths, so that sums are exact in any order."""
MAX_AMOUNT: Final = 10**12
MAX_KEY_CHARS: Final = 64
"""A longer key of a sequence is kept as its hash: only whether two are the same is ever asked."""
_SUM_BASE: Final = 10**15
CONSENT_EVENT: Final = "Segment Consent Preference Updated"


@dataclass(frozen=True, slots=True)
class Register:
    """Which events it takes an entry from, what is kept of each, and how many stay.

    `horizon_ms`: entries so much older than the newest are dropped. `period_ms` and `offset_ms` are for `periods`. Leaves over
    the same events and values share a register: its key says all but how much is kept.
    """

    event: str
    where: tuple[PropertyComparison, ...]
    form: RegisterForm
    extract: Extraction = "nothing"
    paths: tuple[str, ...] = ()
    having: tuple[PropertyComparison, ...] = ()
    capacity: int = 1
    horizon_ms: int | None = None
    period_ms: int = 0
    offset_ms: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        identity = [
            self.event, [comparison.model_dump(mode="json") for comparison in self.where], self.form, self.extract, self.paths,
            [c.model_dump(mode="json") for c in self.having], self.period_ms, self.offset_ms,
        ]  # fmt: skip
        object.__setattr__(self, "key", content_hash(identity))

    @property
    def has_single_key(self) -> bool:
        """Whether all entries have the same, empty key, so that the newest one stands for all."""
        return self.form == "newest_of_each" and self.extract == "key" and not self.paths

    def enlarged_for(self, other: "Register") -> "Register":
        """The same register, large enough for both."""
        horizons = (self.horizon_ms, other.horizon_ms)
        horizon_ms = None if None in horizons else max(candidate for candidate in horizons if candidate is not None)
        return replace(self, capacity=max(self.capacity, other.capacity), horizon_ms=horizon_ms)

    def entry(self, event: Event, tie_breaker: str) -> Entry | None:
        """What an event of this name adds; None when it is not one of those meant. `tie_breaker` is the message's."""
        properties = event.properties
        if not all(holds(comparison, lookup(properties, comparison.prop)) for comparison in self.where):
            return None
        extracted = _extract(self, event)
        if extracted is None:
            return None
        value = None if extracted is _NO_VALUE else extracted
        match self.form:
            case "newest" | "oldest":
                # Of two of one instant the one that takes back wins.
                retraction_prefix = str(int(value is False)) if self.extract in ("consent", "subscription") else ""
                return event.time_ms, retraction_prefix + tie_breaker, value
            case "newest_of_each":
                return event.time_ms, text_hash(canonical_text(value) or ""), value
            case "periods":
                return (event.time_ms + self.offset_ms) // self.period_ms, "", None
            case "largest" | "smallest":
                return int(extracted), "", None
            case "tally":
                return (0, canonical_text(value) or "", None) if self.extract == "value" else (0, "", value)

    def add(self, entries: Sequence[Entry], entry: Entry) -> Sequence[Entry]:
        """The kept entries and one more."""
        if entries and self.form in ("newest", "periods"):
            order_key, newest_key = entry[:2], entries[0][:2]
            if order_key == newest_key or (len(entries) == self.capacity and order_key <= entries[-1][:2]):
                return entries
            if order_key > newest_key and self.is_within_capacity(entries):
                extended = [entry, *entries[: self.capacity - 1]]
                return extended if self.is_within_capacity(extended) else self.join((extended,))
        return self.join((entries, (entry,)))

    def join(self, parts: Iterable[Sequence[Entry]]) -> list[Entry]:
        """The best `capacity` of the union, the best first."""
        best: dict[Any, Entry] = {}
        is_keyed = self.form == "newest_of_each"
        for part in parts:
            for entry in part:
                identity = entry[1] if is_keyed else entry[:2]
                current = best.get(identity)
                if current is None or entry[0] > current[0]:
                    best[identity] = tuple(entry)
        ordered = sorted(best.values(), key=_sort_key, reverse=self.form not in ("oldest", "smallest"))
        if self.horizon_ms is not None and ordered:
            horizon_start = ordered[0][0] - self.horizon_ms
            ordered = [entry for entry in ordered if entry[0] > horizon_start]
        return ordered[: self.capacity]

    def is_within_capacity(self, entries: Sequence[Entry]) -> bool:
        """Whether nothing of what was kept has to be left out: a register that is smaller by now may have too much."""
        is_within_horizon = self.horizon_ms is None or not entries or entries[-1][0] > entries[0][0] - self.horizon_ms
        return is_within_horizon and len(entries) <= self.capacity


_NO_VALUE: Final = object()


def _sort_key(entry: Entry) -> tuple[int, str]:
    return entry[0], entry[1]


def _extract(register: Register, event: Event) -> Any:
    """What is kept of an event, None when it has none of it."""
    match register.extract:
        case "nothing":
            return _NO_VALUE
        case "amount" | "amount_or_nothing":
            amount = parse_amount(lookup(event.properties, register.paths[0]))
            return 0 if amount is None and register.extract == "amount_or_nothing" else amount
        case "value":
            text = canonical_text(lookup(event.properties, register.paths[0]))
            return None if text is None else parse_canonical(text)
        case "key":
            parts = [canonical_text(lookup(event.properties, path)) for path in register.paths]
            if None in parts:
                return None
            text = "\n".join(_escape_line(part or "") for part in parts)
            return text if len(text) <= MAX_KEY_CHARS else f"#{text_hash(text)}"
        case "having":
            return all(holds(comparison, lookup(event.properties, comparison.prop)) for comparison in register.having)
        case "consent":
            preferences = lookup(event.context, "consent.categoryPreferences")
            preference = preferences.get(register.paths[0]) if isinstance(preferences, Mapping) else None
            return preference if isinstance(preference, bool) else None
        case "subscription":
            return _subscription_status(event.context.get("messaging_subscriptions"), register.paths[0])


def _escape_line(part: str) -> str:
    return part.replace("\\", "\\\\").replace("\n", "\\n")


def _subscription_status(subscriptions: Any, channel: str) -> bool | None:
    """Whether a list of subscriptions says of a channel that it is subscribed; False wins within one event."""
    statuses = [
        subscription.get("status") == "SUBSCRIBED"
        for subscription in (subscriptions if isinstance(subscriptions, list) else ())
        if isinstance(subscription, Mapping)
        and isinstance(subscription.get("type"), str)
        and subscription["type"].lower() == channel.lower()
        and subscription.get("status") in ("SUBSCRIBED", "UNSUBSCRIBED", "DID_NOT_SUBSCRIBE")
    ]
    return all(statuses) if statuses else None


def parse_amount(value: Any) -> int | None:
    """A number in whole millionths, None for anything else and for what is beyond MAX_AMOUNT."""
    if value_kind(value) != "number" or not -MAX_AMOUNT <= float(value) <= MAX_AMOUNT:
        return None
    return to_millionths(float(value))


def to_millionths(number: float) -> int:
    """A number in whole millionths, half to even: exact in front of the point, where a product of floats is not."""
    whole = math.trunc(number)
    return whole * AMOUNT_SCALE + round((number - whole) * AMOUNT_SCALE)


def amount_to_number(amount: int) -> int | float:
    """The number that an amount in millionths is."""
    return amount // AMOUNT_SCALE if amount % AMOUNT_SCALE == 0 else amount / AMOUNT_SCALE


def canonical_text(value: Any) -> str | None:
    """The one text of a text, number or boolean, its kind first; None for anything else."""
    match value_kind(value):
        case "text":
            return f"s{normalise_nfc(value)}"
        case "number":
            number = float(value)
            return f"n{int(number) if number.is_integer() and abs(number) < 1e15 else number!r}"
        case "boolean":
            return f"b{str(value).lower()}"
        case _:
            return None


def parse_canonical(text: str) -> Any:
    """The value whose canonical text this is."""
    if text[0] == "s":
        return text[1:]
    if text[0] == "b":
        return text[1:] == "true"
    number = float(text[1:])
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def count_entry(tally: dict[str, TallyCount], entry: Entry, capacity: int) -> None:
    """Count an entry. Of more than `capacity` different values those with the smallest hashes are counted, whatever their order."""
    _, value, amount = entry
    _add_to_tally(tally, value, (1, *divmod(amount or 0, _SUM_BASE)))
    _trim_tally(tally, capacity)


def sum_tallies(tallies: Iterable[Mapping[str, TallyCount]], capacity: int) -> dict[str, TallyCount]:
    """The tallies of several fragments together."""
    total: dict[str, TallyCount] = {}
    for tally in tallies:
        for value, count in tally.items():
            _add_to_tally(total, value, count)
    _trim_tally(total, capacity)
    return dict(sorted(total.items()))


def _add_to_tally(tally: dict[str, TallyCount], value: str, added: Iterable[int]) -> None:
    added_times, added_high, added_low = added
    current = tally.get(value, (0, 0, 0))
    tally[value] = (current[0] + added_times, *divmod((current[1] + added_high) * _SUM_BASE + current[2] + added_low, _SUM_BASE))


def _trim_tally(tally: dict[str, TallyCount], capacity: int) -> None:
    while len(tally) > capacity:
        del tally[max(tally, key=lambda value: (text_hash(value), value))]


def tally_sum(count: TallyCount) -> int:
    """The sum, in millionths."""
    return count[1] * _SUM_BASE + count[2]
