"""What each leaf comes to, of a profile's facts at an instant. Pure."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from domain.fields import StrictModel
from domain.segments.comparisons import TraitLeaf, evaluate_relative_date, holds, lookup, parse_instant
from domain.segments.leaf_models import (
    AccountLeaf,
    AggregateLeaf,
    CalendarLeaf,
    ConsentLeaf,
    DidLeaf,
    DidNotLeaf,
    HouseholdLeaf,
    LifecycleLeaf,
    OccurrenceLeaf,
    OrderingOp,
    PercentLeaf,
    RegularlyLeaf,
    RfmLeaf,
    SubscribedLeaf,
)
from domain.segments.profile_facts import GroupFacts, LeafResult, ProfileFacts
from domain.segments.registers import AMOUNT_SCALE, Entry, Register, amount_to_number, tally_sum, to_millionths
from domain.segments.windows import entries_in_window
from schemas.instants import NEVER

LeafEvaluator = Callable[[Any, Sequence[Register], ProfileFacts, int], LeafResult]

COMPARATORS: Final[Mapping[OrderingOp, Callable[[int, int], bool]]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def evaluate_trait(leaf: TraitLeaf, facts: ProfileFacts, now_ms: int) -> LeafResult:
    """A comparison of a trait, or of a computed one."""
    value = trait_value(leaf.path, facts)
    length_ms = leaf.relative_ms
    if length_ms is None:
        return LeafResult(value, holds(leaf.comparison, value))
    at_ms = parse_instant(value)
    if at_ms is None:
        return LeafResult(value)
    return LeafResult(value, *evaluate_relative_date(leaf.op, at_ms, length_ms, now_ms))


def trait_value(path: str, facts: ProfileFacts) -> Any:
    """The trait at a path; `computed.NAME` is a computed one."""
    return lookup(facts.computed, path[len("computed.") :]) if path.startswith("computed.") else lookup(facts.traits, path)


def evaluate_did(leaf: DidLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """How often in the window. The count only sinks by itself, when the oldest entries leave."""
    in_window = entries_in_window(facts.entries(registers[0]), leaf.within, now_ms)
    times, (fewest, most) = len(in_window.entries), leaf.times_range
    changes = [entry[0] for entry in facts.entries(registers[0]) if entry[0] > now_ms]
    if leaf.within is not None:
        # It holds again once the one after the most-th newest leaves, if not too many of one instant leave with it; it holds no
        # longer once the fewest-th does.
        if times > most:
            at_ms = in_window.entries[most][0]
            changes += [at_ms + leaf.within] if fewest == 0 or in_window.entries[fewest - 1][0] > at_ms else []
        elif 0 < fewest <= times:
            changes.append(in_window.entries[fewest - 1][0] + leaf.within)
    return LeafResult(times, fewest <= times <= most, min(changes, default=NEVER), in_window.entries)


def evaluate_did_not(leaf: DidNotLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """Not once in the window."""
    in_window = entries_in_window(facts.entries(registers[0]), leaf.within, now_ms)
    return LeafResult(len(in_window.entries), not in_window.entries, in_window.next_change_ms, in_window.entries)


def evaluate_occurrence(leaf: OccurrenceLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """The one that the register keeps: the first, or the last."""
    entry = next(iter(facts.entries(registers[0])), None)
    if entry is None:
        return LeafResult(None)
    at_ms = entry[0]
    if at_ms > now_ms:
        return LeafResult(None, next_change_ms=at_ms)
    edges = [at_ms + length for length in (leaf.within, leaf.not_within) if length is not None]
    is_within = leaf.within is None or at_ms > now_ms - leaf.within
    is_past_exclusion = leaf.not_within is None or at_ms <= now_ms - leaf.not_within
    has_properties = entry[2] is not False
    changes = min((edge for edge in edges if edge > now_ms), default=NEVER) if has_properties else NEVER
    return LeafResult(at_ms, is_within and is_past_exclusion and has_properties, changes, [entry])


def evaluate_aggregate(leaf: AggregateLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """A number over the events in the window, compared exactly in millionths."""
    register, threshold = registers[0], to_millionths(leaf.value)
    if leaf.of == "distinct":
        in_window = entries_in_window(facts.entries(register), leaf.within, now_ms)
        number = len(in_window.entries)
        return LeafResult(
            number, COMPARATORS[leaf.op](number * AMOUNT_SCALE, threshold), in_window.next_change_ms, in_window.entries
        )
    total, times, next_ms, entries = aggregate_amounts(leaf.of, leaf.within, register, facts, now_ms)
    if times == 0:
        return LeafResult(None, next_change_ms=next_ms)
    # An average is compared without dividing.
    displayed = amount_to_number(total) if leaf.of != "avg" else total / AMOUNT_SCALE / times
    compared_threshold = threshold * times if leaf.of == "avg" else threshold
    approximate = register.form == "newest" and times >= register.capacity
    return LeafResult(displayed, COMPARATORS[leaf.op](total, compared_threshold), next_ms, entries, approximate)


def aggregate_amounts(
    of: str, within: int | None, register: Register, facts: ProfileFacts, now_ms: int
) -> tuple[int, int, int, Sequence[Entry]]:
    """(the sum, smallest or largest in millionths; how many; the next change; the entries)."""
    if register.form == "tally":
        tally_count = facts.tallies.get(register.key, {}).get("")
        return (0, 0, NEVER, ()) if tally_count is None else (tally_sum(tally_count), tally_count[0], NEVER, ())
    if within is None:
        entry = next(iter(facts.entries(register)), None)
        return (0, 0, NEVER, ()) if entry is None else (entry[0], 1, NEVER, [entry])
    in_window = entries_in_window(facts.entries(register), within, now_ms)
    values = [entry[2] for entry in in_window.entries]
    total = 0 if not values else min(values) if of == "min" else max(values) if of == "max" else sum(values)
    return total, len(values), in_window.next_change_ms, in_window.entries


def evaluate_regularly(leaf: RegularlyLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """In how many of the last periods. Only the end of a period changes it, when the oldest that counts leaves."""
    every, offset = leaf.every, leaf.offset_ms
    current = (now_ms + offset) // every
    matching_periods = [entry for entry in facts.entries(registers[0]) if current - leaf.of < entry[0] <= current]
    next_entry_ms = min((entry[0] * every - offset for entry in facts.entries(registers[0]) if entry[0] > current), default=NEVER)
    is_regular = len(matching_periods) >= leaf.at_least
    next_exit_ms = (matching_periods[leaf.at_least - 1][0] + leaf.of) * every - offset if is_regular else NEVER
    return LeafResult(len(matching_periods), is_regular, min(next_entry_ms, next_exit_ms), matching_periods)


def evaluate_percent(leaf: PercentLeaf, _registers: Sequence[Register], facts: ProfileFacts, _now_ms: int) -> LeafResult:
    """The bucket of 10,000 that a profile falls into, by the first 32 bits of a SHA-256."""
    digest = hashlib.sha256(f"{leaf.salt}:{facts.profile_id}".encode()).digest()
    bucket = int.from_bytes(digest[:4]) % 10_000
    return LeafResult(bucket, bucket < leaf.buckets)


def evaluate_rfm(leaf: RfmLeaf, _registers: Sequence[Register], facts: ProfileFacts, _now_ms: int) -> LeafResult:
    """The scores of a computed trait."""
    scores = facts.computed.get(leaf.of)
    if not isinstance(scores, Mapping):
        return LeafResult(None)
    required = {name: allowed_scores for name in ("recency", "frequency", "monetary") if (allowed_scores := getattr(leaf, name))}
    return LeafResult(scores, all(scores.get(name) in wanted for name, wanted in required.items()))


def evaluate_lifecycle(leaf: LifecycleLeaf, _registers: Sequence[Register], facts: ProfileFacts, _now_ms: int) -> LeafResult:
    """The stage of a computed trait."""
    stage = facts.computed.get(leaf.of)
    return LeafResult(stage, stage in leaf.stage)


def evaluate_preference(
    leaf: ConsentLeaf | SubscribedLeaf, registers: Sequence[Register], facts: ProfileFacts, now_ms: int
) -> LeafResult:
    """What was last said of a purpose or a channel."""
    entry = next((entry for entry in facts.entries(registers[0]) if entry[0] <= now_ms), None)
    next_entry_ms = min((entry[0] for entry in facts.entries(registers[0]) if entry[0] > now_ms), default=NEVER)
    positive, negative = ("granted", "denied") if isinstance(leaf, ConsentLeaf) else ("subscribed", "unsubscribed")
    status = "unknown" if entry is None else positive if entry[2] else negative
    return LeafResult(status, status == leaf.status, next_entry_ms, () if entry is None else [entry])


def evaluate_calendar(leaf: CalendarLeaf, _registers: Sequence[Register], facts: ProfileFacts, now_ms: int) -> LeafResult:
    """Whether today, where the customer lives, is one of the days about the anniversary."""
    base_date = leaf.parse_date(trait_value(leaf.trait, facts))
    if base_date is None:
        return LeafResult(None)
    zone = zone_of(trait_value(leaf.zone_trait, facts), leaf.zone)
    today = datetime.fromtimestamp(now_ms / 1000, tz=zone).date()
    # Two years on: half a year before the next year's anniversary may be past already.
    starts = [anniversary_in(base_date, today.year + year) - timedelta(days=leaf.before) for year in (-1, 0, 1, 2)]
    is_member = any(start <= today < start + timedelta(days=leaf.days) for start in starts)
    edges = [edge for start in starts for edge in (start, start + timedelta(days=leaf.days)) if edge > today]
    return LeafResult(base_date.isoformat(), is_member, local_midnight_ms(min(edges), zone))


def anniversary_in(base_date: date, year: int) -> date:
    """The day of a year on which a date is remembered."""
    leap_day = (base_date.month, base_date.day) == (2, 29)
    return date(year, 2, 28) if leap_day and not _is_leap_year(year) else date(year, base_date.month, base_date.day)


def _is_leap_year(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def zone_of(name: object, default: str) -> ZoneInfo:
    """The zone of a trait's value, or the default one."""
    return _load_zone(name if isinstance(name, str) and name else default, default)


@lru_cache(maxsize=1024)
def _load_zone(name: str, default: str) -> ZoneInfo:
    return ZoneInfo(name if name in iana_zones() else default)


@lru_cache(maxsize=1)
def iana_zones() -> frozenset[str]:
    """All zones of the IANA database. What else a machine may have beside them (`right/UTC`, `localtime`) is none."""
    return frozenset(available_timezones()) - {"localtime"}


def local_midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The instant at which a local day begins; where the clocks skip midnight, the first instant of the day."""
    local_midnight = datetime.combine(day, time.min, zone)
    return int(local_midnight.astimezone(UTC).timestamp() * 1000)


def evaluate_account(leaf: AccountLeaf, _registers: Sequence[Register], facts: ProfileFacts, _now_ms: int) -> LeafResult:
    """One of the accounts."""
    matching_count = sum(group_matches(leaf, group) for group in facts.accounts)
    return LeafResult(matching_count, matching_count > 0)


def evaluate_household(leaf: HouseholdLeaf, _registers: Sequence[Register], facts: ProfileFacts, _now_ms: int) -> LeafResult:
    """The household."""
    size = 0 if facts.household is None else facts.household.members
    return LeafResult(size, facts.household is not None and group_matches(leaf, facts.household))


def group_matches(leaf: AccountLeaf | HouseholdLeaf, group: GroupFacts) -> bool:
    """Whether all that a leaf asks of an account or a household holds of this one."""
    if leaf.members is not None and group.members < leaf.members.at_least:
        return False
    trait_leaf = leaf.trait
    if trait_leaf is not None and not holds(trait_leaf.comparison, lookup(group.traits, trait_leaf.path)):
        return False
    count_leaf = leaf.did if isinstance(leaf, HouseholdLeaf) else None
    return count_leaf is None or group.counters.get(count_leaf.event, 0) >= count_leaf.at_least


EVALUATORS: Final[Mapping[type[StrictModel], LeafEvaluator]] = {
    TraitLeaf: lambda leaf, _registers, facts, now_ms: evaluate_trait(leaf, facts, now_ms),
    DidLeaf: evaluate_did,
    DidNotLeaf: evaluate_did_not,
    OccurrenceLeaf: evaluate_occurrence,
    AggregateLeaf: evaluate_aggregate,
    RegularlyLeaf: evaluate_regularly,
    PercentLeaf: evaluate_percent,
    RfmLeaf: evaluate_rfm,
    LifecycleLeaf: evaluate_lifecycle,
    ConsentLeaf: evaluate_preference,
    SubscribedLeaf: evaluate_preference,
    CalendarLeaf: evaluate_calendar,
    AccountLeaf: evaluate_account,
    HouseholdLeaf: evaluate_household,
}
