"""Registers: the bounded state behind leaves and computed traits. Pure.

Why: a leaf such as "ordered twice in 90 days" must be answered for millions of profiles without reading their history.
So each fragment stores, for each question about events, a register whose size is known before the first event comes.

There are two kinds. All forms but `tally` are *bounded sets*: the join is the union cut to the best `capacity` entries
in a total order. Cutting a union to its best commutes with joining, so the join is commutative, associative and
idempotent: any arrival order, any duplication and any grouping of fragments give the same bytes ("Order does not
matter", "Merges move nothing"). The form `tally` counts and sums over all time. Adding is not idempotent, so an event
is counted only once, by the fragment of its owner, which knows its message ids; tallies of different fragments are then
added up.

An example with form `newest`, capacity 2. Events at 10, 30 and 20 ms arrive in that order, each with its message's hash
as tie-breaker: [] -> [10] -> [30, 10] -> [30, 20]. In any other order, and if 30 arrives twice, the result is the same.
A second fragment with [40] joins to [40, 30].
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from domain.segments.comparisons import PropertyComparison, holds, lookup, normalise_nfc, value_kind
from domain.segments.value_counts import count_value, smallest_hash, sum_value_counts, uncount_value
from schemas.events import Event
from schemas.hashes import content_hash, text_hash

Entry = tuple[int, str, Any]
"""(order: a time in ms, a period's index or an amount; tie-breaker among entries of equal order; the value stored with it)."""

TallyCount = tuple[int, int, int]
"""(how many; the sum of their amounts as high and low with sum = high x 10^15 + low). MessagePack has no integers above 64 bits.
Counts of values mean something else, see `domain.segments.value_counts`."""

RegisterForm = Literal["newest", "oldest", "newest_of_each", "periods", "largest", "smallest", "tally"]
Extraction = Literal["nothing", "amount", "amount_or_nothing", "value", "key", "having", "consent", "subscription"]

HORIZON_SLACK_MS: Final = 3_600_000
"""How long entries outlive their window: a worker whose clock is behind by up to an hour still finds all that its window has."""
AMOUNT_SCALE: Final = 10**6
"""Amounts are stored as whole millionths: sums of floats depend on their order, sums of integers do not."""
MAX_AMOUNT: Final = 10**12
MAX_KEY_CHARS: Final = 64
"""A longer key of a sequence is stored as its hash: nothing but the equality of two keys is ever asked."""
MAX_VALUE_CHARS: Final = 513
"""How long the canonical text of a stored value may be: a longer text (of more than 512 characters) is no value of a computed
trait. SQL has the same limit."""
_SUM_BASE: Final = 10**15
CONSENT_EVENT: Final = "Segment Consent Preference Updated"


@dataclass(frozen=True, slots=True)
class Register:
    """Which events a register takes entries from, what it stores of each, and how many entries it retains.

    The events are those labelled `event` whose properties are as `where` says. `extract` says what is stored of an event, read from
    `paths` (or judged by `having`). `form` and `capacity` say which entries are retained; entries older than the newest by
    `horizon_ms` or more are dropped as well (None: age does not matter). `period_ms` and `offset_ms` are for the form `periods`.

    Leaves over the same events and values share one register, stored under `key`. The key is a hash of everything but the size
    (`capacity`, `horizon_ms`), so that a register can grow in place; `SegmentPlan` makes it as large as its largest reader needs.
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
        # The class is frozen; the key is derived from the other fields and set once.
        object.__setattr__(self, "key", content_hash(identity))

    @property
    def has_single_key(self) -> bool:
        """Whether all entries have the same, empty key, so that the newest one stands for all."""
        return self.form == "newest_of_each" and self.extract == "key" and not self.paths

    def enlarged_for(self, other: "Register") -> "Register":
        """Return the same register, large enough for both. A horizon of None retains entries of any age, so it wins."""
        horizons = (self.horizon_ms, other.horizon_ms)
        horizon_ms = None if None in horizons else max(candidate for candidate in horizons if candidate is not None)
        return replace(self, capacity=max(self.capacity, other.capacity), horizon_ms=horizon_ms)

    def entry(self, event: Event, tie_breaker: str) -> Entry | None:
        """Return the entry that an event adds; None when its properties do not fit or it has no value to store.

        The caller passes only events labelled `self.event`. `tie_breaker` is the hash of the message's owner and id: it
        orders events of the same millisecond in the same way on every worker and in SQL.
        """
        properties = event.properties
        if not all(holds(comparison, lookup(properties, comparison.prop)) for comparison in self.where):
            return None
        extracted = _extract(self, event)
        if extracted is None:
            return None
        value = None if extracted is _NO_VALUE else extracted
        match self.form:
            case "newest" | "oldest":
                # Of two statements at the same millisecond the one that takes back wins: "1" sorts after "0".
                retraction_prefix = str(int(value is False)) if self.extract in ("consent", "subscription") else ""
                return event.time_ms, retraction_prefix + tie_breaker, value
            case "newest_of_each":
                # The hash of the value identifies the entry: a newer event with the same value replaces it.
                return event.time_ms, text_hash(canonical_text(value) or ""), value
            case "periods":
                return (event.time_ms + self.offset_ms) // self.period_ms, "", None
            case "largest" | "smallest":
                # Ordered by the amount itself, not by time: equal amounts are one entry.
                return int(extracted), "", None
            case "tally":
                if self.extract == "value":
                    return smallest_hash(tie_breaker), canonical_text(value) or "", None
                return 0, "", value

    def add(self, entries: Sequence[Entry], entry: Entry) -> Sequence[Entry]:
        """Return the stored entries with one more. The result equals `join((entries, (entry,)))`; the usual cases are faster."""
        if entries and self.form in ("newest", "periods"):
            order_key, newest_key = entry[:2], entries[0][:2]
            # A repetition of the newest entry, or one that is older than all of a full register, changes nothing.
            if order_key == newest_key or (len(entries) == self.capacity and order_key <= entries[-1][:2]):
                return entries
            # In order of time, as most events come, it goes to the front and the oldest falls off.
            if order_key > newest_key and self.is_within_capacity(entries):
                extended = [entry, *entries[: self.capacity - 1]]
                return extended if self.is_within_capacity(extended) else self.join((extended,))
        return self.join((entries, (entry,)))

    def join(self, parts: Iterable[Sequence[Entry]]) -> list[Entry]:
        """Return the best `capacity` entries of the union, the best first. `parts` are registers of several fragments."""
        best: dict[Any, Entry] = {}
        is_keyed = self.form == "newest_of_each"
        for part in parts:
            for entry in part:
                identity = entry[1] if is_keyed else entry[:2]
                current = best.get(identity)
                # Entries with the same identity differ in time only when they are keyed by value: then the newest one
                # stands for all.
                if current is None or entry[0] > current[0]:
                    best[identity] = tuple(entry)
        ordered = sorted(best.values(), key=_sort_key, reverse=self.form not in ("oldest", "smallest"))
        if self.horizon_ms is not None and ordered:
            # Measured from the newest entry, not from a clock: the result must be a function of the set of events alone.
            horizon_start = ordered[0][0] - self.horizon_ms
            ordered = [entry for entry in ordered if entry[0] > horizon_start]
        return ordered[: self.capacity]

    def is_within_capacity(self, entries: Sequence[Entry]) -> bool:
        """Return whether no stored entry has to be dropped. A definition that now asks for less leaves too many behind."""
        is_within_horizon = self.horizon_ms is None or not entries or entries[-1][0] > entries[0][0] - self.horizon_ms
        return is_within_horizon and len(entries) <= self.capacity


_NO_VALUE: Final = object()


def _sort_key(entry: Entry) -> tuple[int, str]:
    return entry[0], entry[1]


def _extract(register: Register, event: Event) -> Any:
    """Return what is stored of an event: _NO_VALUE for an entry without a value, None when the event adds no entry."""
    match register.extract:
        case "nothing":
            return _NO_VALUE
        case "amount" | "amount_or_nothing":
            amount = parse_amount(lookup(event.properties, register.paths[0]))
            return 0 if amount is None and register.extract == "amount_or_nothing" else amount
        case "value":
            text = canonical_text(lookup(event.properties, register.paths[0]))
            return None if text is None or len(text) > MAX_VALUE_CHARS else parse_canonical(text)
        case "key":
            parts = [canonical_text(lookup(event.properties, path)) for path in register.paths]
            if None in parts:
                return None
            # Line breaks separate the parts, so those inside a part are escaped: ("a\\nb",) and ("a", "b") are different keys.
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
    """Return whether an identify call says that a channel is subscribed, None when it does not mention the channel.

    When the call names the channel more than once, every entry has to say SUBSCRIBED: in doubt no message is sent.
    """
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
    """Return a number in whole millionths; None for anything else and for numbers beyond MAX_AMOUNT."""
    if value_kind(value) != "number" or not -MAX_AMOUNT <= float(value) <= MAX_AMOUNT:
        return None
    return to_millionths(float(value))


def to_millionths(number: float) -> int:
    """Return a number in whole millionths, rounded half to even.

    The whole part is scaled as an integer: the product `number * 10**6` of floats would already be inexact above 2^53 millionths.
    """
    whole = math.trunc(number)
    return whole * AMOUNT_SCALE + round((number - whole) * AMOUNT_SCALE)


def amount_to_number(amount: int) -> int | float:
    """Return the number that an amount in millionths stands for: an integer when it is whole."""
    return amount // AMOUNT_SCALE if amount % AMOUNT_SCALE == 0 else amount / AMOUNT_SCALE


def canonical_text(value: Any) -> str | None:
    """Return the one text of a JSON text (`sHuế`), number (`n5`) or boolean (`btrue`); None for anything else.

    Equal values have equal texts and values of different kinds never do, so texts can be counted, compared and hashed
    in their place.
    """
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


def canonical_sort_key(text: str) -> tuple[str, float, str]:
    """Return what orders canonical texts as their values: booleans, numbers by their size, texts by their characters."""
    return text[0], float(text[1:]) if text[0] == "n" else 0.0, text


def parse_canonical(text: str) -> Any:
    """Return the value whose canonical text this is."""
    if text[0] == "s":
        return text[1:]
    if text[0] == "b":
        return text[1:] == "true"
    number = float(text[1:])
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def count_entry(tally: dict[str, TallyCount], entry: Entry, register: Register) -> None:
    """Count an entry of a register of the form `tally`, in place."""
    order, value, amount = entry
    if register.extract == "value":
        count_value(tally, value, order, register.capacity)
    else:
        # divmod rounds down, so the low part is never negative: equal sums have equal bytes whatever was added to reach them.
        _add_to_tally(tally, value, (1, *divmod(amount or 0, _SUM_BASE)))


def uncount_entry(tally: Mapping[str, TallyCount], value: str, amount: int, register: Register) -> dict[str, TallyCount]:
    """Return the tally as it was before the entry with this value and amount was counted."""
    result = dict(tally)
    if register.extract == "value":
        uncount_value(result, value)
    elif value in result:
        _add_to_tally(result, value, (-1, *divmod(-amount, _SUM_BASE)))
        if result[value][0] <= 0:
            del result[value]
    return result


def sum_tallies(tallies: Iterable[Mapping[str, TallyCount]], register: Register) -> dict[str, TallyCount]:
    """Return the tallies of several fragments for one register added up, in the order of their values."""
    if register.extract == "value":
        return sum_value_counts(tallies, register.capacity)
    total: dict[str, TallyCount] = {}
    for tally in tallies:
        for value, count in tally.items():
            _add_to_tally(total, value, count)
    return dict(sorted(total.items()))


def _add_to_tally(tally: dict[str, TallyCount], value: str, added: Iterable[int]) -> None:
    added_times, added_high, added_low = added
    current = tally.get(value, (0, 0, 0))
    tally[value] = (current[0] + added_times, *divmod((current[1] + added_high) * _SUM_BASE + current[2] + added_low, _SUM_BASE))


def tally_sum(count: TallyCount) -> int:
    """Return the sum of a tally, in millionths."""
    return count[1] * _SUM_BASE + count[2]
