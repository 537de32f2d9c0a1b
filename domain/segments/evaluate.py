"""What each leaf comes to, of a profile's facts at an instant. Pure."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from domain.fields import Strict
from domain.segments.comparisons import (NEVER, TraitLeaf, holds, instant_of, lookup, relative)
from domain.segments.profile_facts import Answer, Facts, Group
from domain.segments.leaf_models import (AccountLeaf, AggregateLeaf, CalendarLeaf, ConsentLeaf, DidLeaf, DidNotLeaf, HouseholdLeaf, LifecycleLeaf, OccurrenceLeaf, Ordering, PercentLeaf, RegularlyLeaf, RfmLeaf, SubscribedLeaf)
from domain.segments.registers import (AMOUNT, Entry, Register, millionths, number_of, sum_of)
from domain.segments.windows import inside

Evaluator = Callable[[Any, Sequence[Register], Facts, int], Answer]

COMPARE: Final[Mapping[Ordering, Callable[[int, int], bool]]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def trait(leaf: TraitLeaf, facts: Facts, now_ms: int) -> Answer:
    """A comparison of a trait, or of a computed one."""
    value = trait_value(leaf.path, facts)
    length_ms = leaf.relative_ms
    if length_ms is None:
        return Answer(value, holds(leaf.condition, value))
    at_ms = instant_of(value)
    if at_ms is None:
        return Answer(value)
    return Answer(value, *relative(leaf.op, at_ms, length_ms, now_ms))


def trait_value(path: str, facts: Facts) -> Any:
    """The trait at a path; `computed.NAME` is a computed one."""
    return lookup(facts.computed, path[len("computed.") :]) if path.startswith("computed.") else lookup(facts.traits, path)


def did(leaf: DidLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """How often in the window. The count only sinks by itself, when the oldest entries leave."""
    found = inside(facts.entries(registers[0]), leaf.within, now_ms)
    times, (fewest, most) = len(found.entries), leaf.range
    changes = [entry[0] for entry in facts.entries(registers[0]) if entry[0] > now_ms]
    if leaf.within is not None:
        # It holds again once the one after the most-th newest leaves, if not too many of one instant leave with it; it holds no
        # longer once the fewest-th does.
        if times > most:
            at_ms = found.entries[most][0]
            changes += [at_ms + leaf.within] if fewest == 0 or found.entries[fewest - 1][0] > at_ms else []
        elif 0 < fewest <= times:
            changes.append(found.entries[fewest - 1][0] + leaf.within)
    return Answer(times, fewest <= times <= most, min(changes, default=NEVER), found.entries)


def did_not(leaf: DidNotLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """Not once in the window."""
    found = inside(facts.entries(registers[0]), leaf.within, now_ms)
    return Answer(len(found.entries), not found.entries, found.next_ms, found.entries)


def occurrence(leaf: OccurrenceLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """The one that the register keeps: the first, or the last."""
    entry = next(iter(facts.entries(registers[0])), None)
    if entry is None:
        return Answer(None)
    at_ms = entry[0]
    if at_ms > now_ms:
        return Answer(None, next_ms=at_ms)
    edges = [at_ms + length for length in (leaf.within, leaf.not_within) if length is not None]
    recent = leaf.within is None or at_ms > now_ms - leaf.within
    past = leaf.not_within is None or at_ms <= now_ms - leaf.not_within
    fits = entry[2] is not False
    changes = min((edge for edge in edges if edge > now_ms), default=NEVER) if fits else NEVER
    return Answer(at_ms, recent and past and fits, changes, [entry])


def aggregate(leaf: AggregateLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """A number over the events in the window, compared exactly in millionths."""
    register, value = registers[0], millionths(leaf.value)
    if leaf.of == "distinct":
        found = inside(facts.entries(register), leaf.within, now_ms)
        number = len(found.entries)
        return Answer(number, COMPARE[leaf.op](number * AMOUNT, value), found.next_ms, found.entries)
    total, times, next_ms, behind = amounts(leaf.of, leaf.within, register, facts, now_ms)
    if times == 0:
        return Answer(None, next_ms=next_ms)
    # An average is compared without dividing.
    said = number_of(total) if leaf.of != "avg" else total / AMOUNT / times
    right = value * times if leaf.of == "avg" else value
    approximate = register.form == "newest" and times >= register.keep
    return Answer(said, COMPARE[leaf.op](total, right), next_ms, behind, approximate)


def amounts(of: str, within: int | None, register: Register, facts: Facts, now_ms: int) -> tuple[int, int, int, Sequence[Entry]]:
    """(the sum, smallest or largest in millionths; how many; the next change; the entries)."""
    if register.form == "tally":
        counted = facts.tallies.get(register.key, {}).get("")
        return (0, 0, NEVER, ()) if counted is None else (sum_of(counted), counted[0], NEVER, ())
    if within is None:
        entry = next(iter(facts.entries(register)), None)
        return (0, 0, NEVER, ()) if entry is None else (entry[0], 1, NEVER, [entry])
    found = inside(facts.entries(register), within, now_ms)
    values = [entry[2] for entry in found.entries]
    total = 0 if not values else min(values) if of == "min" else max(values) if of == "max" else sum(values)
    return total, len(values), found.next_ms, found.entries


def regularly(leaf: RegularlyLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """In how many of the last periods. Only the end of a period changes it, when the oldest that counts leaves."""
    every, offset = leaf.every, leaf.offset_ms
    current = (now_ms + offset) // every
    found = [entry for entry in facts.entries(registers[0]) if current - leaf.of < entry[0] <= current]
    coming = min((entry[0] * every - offset for entry in facts.entries(registers[0]) if entry[0] > current), default=NEVER)
    enough = len(found) >= leaf.at_least
    leaving = (found[leaf.at_least - 1][0] + leaf.of) * every - offset if enough else NEVER
    return Answer(len(found), enough, min(coming, leaving), found)


def percent(leaf: PercentLeaf, _registers: Sequence[Register], facts: Facts, _now_ms: int) -> Answer:
    """The bucket of 10,000 that a profile falls into, by the first 32 bits of a SHA-256."""
    digest = hashlib.sha256(f"{leaf.salt}:{facts.profile_id}".encode()).digest()
    bucket = int.from_bytes(digest[:4]) % 10_000
    return Answer(bucket, bucket < leaf.buckets)


def rfm(leaf: RfmLeaf, _registers: Sequence[Register], facts: Facts, _now_ms: int) -> Answer:
    """The scores of a computed trait."""
    scores = facts.computed.get(leaf.of)
    if not isinstance(scores, Mapping):
        return Answer(None)
    asked = {name: wanted for name in ("recency", "frequency", "monetary") if (wanted := getattr(leaf, name))}
    return Answer(scores, all(scores.get(name) in wanted for name, wanted in asked.items()))


def lifecycle(leaf: LifecycleLeaf, _registers: Sequence[Register], facts: Facts, _now_ms: int) -> Answer:
    """The stage of a computed trait."""
    stage = facts.computed.get(leaf.of)
    return Answer(stage, stage in leaf.stage)


def said(leaf: ConsentLeaf | SubscribedLeaf, registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """What was last said of a purpose or a channel."""
    entry = next((entry for entry in facts.entries(registers[0]) if entry[0] <= now_ms), None)
    coming = min((entry[0] for entry in facts.entries(registers[0]) if entry[0] > now_ms), default=NEVER)
    yes, no = ("granted", "denied") if isinstance(leaf, ConsentLeaf) else ("subscribed", "unsubscribed")
    status = "unknown" if entry is None else yes if entry[2] else no
    return Answer(status, status == leaf.status, coming, () if entry is None else [entry])


def calendar(leaf: CalendarLeaf, _registers: Sequence[Register], facts: Facts, now_ms: int) -> Answer:
    """Whether today, where the customer lives, is one of the days about the anniversary."""
    born = leaf.date_of(trait_value(leaf.trait, facts))
    if born is None:
        return Answer(None)
    zone = zone_of(trait_value(leaf.zone_trait, facts), leaf.zone)
    today = datetime.fromtimestamp(now_ms / 1000, tz=zone).date()
    # Two years on: half a year before the next year's anniversary may be past already.
    starts = [anniversary(born, today.year + year) - timedelta(days=leaf.before) for year in (-1, 0, 1, 2)]
    member = any(start <= today < start + timedelta(days=leaf.days) for start in starts)
    edges = [edge for start in starts for edge in (start, start + timedelta(days=leaf.days)) if edge > today]
    return Answer(born.isoformat(), member, midnight(min(edges), zone))


def anniversary(born: date, year: int) -> date:
    """The day of a year on which a date is remembered."""
    leap_day = (born.month, born.day) == (2, 29)
    return date(year, 2, 28) if leap_day and not _leap(year) else date(year, born.month, born.day)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def zone_of(name: object, default: str) -> ZoneInfo:
    """The zone of a trait's value, or the default one."""
    return _zone(name if isinstance(name, str) and name else default, default)


@lru_cache(maxsize=1024)
def _zone(name: str, default: str) -> ZoneInfo:
    return ZoneInfo(name if name in zones() else default)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """All zones of the IANA database. What else a machine may have beside them (`right/UTC`, `localtime`) is none."""
    return frozenset(available_timezones()) - {"localtime"}


def midnight(day: date, zone: ZoneInfo) -> int:
    """The instant at which a local day begins; where the clocks skip midnight, the first instant of the day."""
    local = datetime.combine(day, time.min, zone)
    return int(local.astimezone(UTC).timestamp() * 1000)


def account(leaf: AccountLeaf, _registers: Sequence[Register], facts: Facts, _now_ms: int) -> Answer:
    """One of the accounts."""
    fitting = sum(group_holds(leaf, one) for one in facts.accounts)
    return Answer(fitting, fitting > 0)


def household(leaf: HouseholdLeaf, _registers: Sequence[Register], facts: Facts, _now_ms: int) -> Answer:
    """The household."""
    size = 0 if facts.household is None else facts.household.members
    return Answer(size, facts.household is not None and group_holds(leaf, facts.household))


def group_holds(leaf: AccountLeaf | HouseholdLeaf, group: Group) -> bool:
    """Whether all that a leaf asks of an account or a household holds of this one."""
    if leaf.members is not None and group.members < leaf.members.at_least:
        return False
    asked = leaf.trait
    if asked is not None and not holds(asked.condition, lookup(group.traits, asked.path)):
        return False
    counted = leaf.did if isinstance(leaf, HouseholdLeaf) else None
    return counted is None or group.counters.get(counted.event, 0) >= counted.at_least


EVALUATORS: Final[Mapping[type[Strict], Evaluator]] = {
    TraitLeaf: lambda leaf, _registers, facts, now_ms: trait(leaf, facts, now_ms),
    DidLeaf: did,
    DidNotLeaf: did_not,
    OccurrenceLeaf: occurrence,
    AggregateLeaf: aggregate,
    RegularlyLeaf: regularly,
    PercentLeaf: percent,
    RfmLeaf: rfm,
    LifecycleLeaf: lifecycle,
    ConsentLeaf: said,
    SubscribedLeaf: said,
    CalendarLeaf: calendar,
    AccountLeaf: account,
    HouseholdLeaf: household,
}
