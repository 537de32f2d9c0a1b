"""The leaf `calendar`: the days about the anniversary of a date, such as a birthday, in the customer's own time zone.

Both sides must agree on what day it is in each zone. So the SQL does not use ClickHouse's zones: the current local date
of every zone is computed here when the statement is written, from the same database as in the stream.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

from domain.fields import DottedPath, StrictModel, WholeNumber
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext, TraitReference
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.sql.query import QueryParameters, any_of

_LEAP_YEAR: Final = 2000
_NO_DATE: Final = "a text that is no date: a date begins like 1990-06-15"
_DAYS_OF_YEAR: Final = [date(_LEAP_YEAR, 1, 1) + timedelta(days=day) for day in range(366)]


@lru_cache(maxsize=1)
def iana_zones() -> frozenset[str]:
    """Return the zones of the IANA database.

    `localtime` is not one of them, although a machine may list it: it names whatever zone that machine is set to, so
    two workers, or the stream and the SQL, would disagree about the day.
    """
    return frozenset(available_timezones()) - {"localtime"}


def _require_iana_zone(name: str) -> str:
    if name not in iana_zones():
        raise ValueError("not a time zone: name one of the IANA database, such as Asia/Ho_Chi_Minh")
    return name


TimeZoneName = Annotated[str, AfterValidator(_require_iana_zone)]


class CalendarLeaf(StrictModel):
    """The customer's local date is in the `days` days that begin `before` days before the anniversary of a date.

    `trait` is a date (`1990-02-28`, or one with a time, whose date counts). 29 February is kept on 28 February in other years.
    The zone is that of the trait `zone_trait`, else `zone`.
    """

    trait: DottedPath
    before: WholeNumber = Field(default=0, ge=0, le=180)
    days: WholeNumber = Field(default=1, ge=1, le=180)
    zone: TimeZoneName = "UTC"
    zone_trait: DottedPath = "timezone"

    def includes(self, base_date: date, today: date) -> bool:
        """Return whether a day is one of the days about an anniversary of `base_date`."""
        # Three years: in January the days of a December anniversary may still run, and in December `before` may have
        # begun next year's.
        return any(start <= today < start + timedelta(days=self.days) for start in self.starts(base_date, today.year, (-1, 0, 1)))

    def starts(self, base_date: date, year: int, years: tuple[int, ...]) -> list[date]:
        """Return the first of the days about each anniversary, for the years `year + years`."""
        return [anniversary_in(base_date, year + offset) - timedelta(days=self.before) for offset in years]


class CalendarCondition(LeafCondition):
    calendar: CalendarLeaf

    example: ClassVar = {"calendar": {"trait": "birthday", "before": 7, "days": 8, "zone": "Asia/Ho_Chi_Minh"}}

    def trait_references(self) -> tuple[TraitReference, ...]:
        return TraitReference(self.calendar.trait, "trait"), TraitReference(self.calendar.zone_trait, "zone_trait")

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        leaf = self.calendar
        base_date = parse_date(facts.trait_value(leaf.trait))
        if base_date is None:
            return LeafResult(None)
        zone = zone_of(facts.trait_value(leaf.zone_trait), leaf.zone)
        today = datetime.fromtimestamp(now_ms / 1000, tz=zone).date()
        # Two years on: `before` may put next year's start half a year back, so that it has passed already.
        starts = leaf.starts(base_date, today.year, (-1, 0, 1, 2))
        # `today` is no edge to wait for: what begins or ends today did so at the midnight that has passed.
        edges = [edge for start in starts for edge in (start, start + timedelta(days=leaf.days)) if edge > today]
        is_member = any(start <= today < start + timedelta(days=leaf.days) for start in starts)
        return LeafResult(base_date.isoformat(), is_member, local_midnight_ms(min(edges), zone))

    def sql(self, context: SqlContext) -> str:
        leaf, parameters, at_ms = self.calendar, context.columns.parameters, context.columns.at_ms
        date_value, zone_value = context.trait_value(leaf.trait), context.trait_value(leaf.zone_trait)
        # A zone matters here only by its date, so the statement has one list of names for each date instead of 600 conditions.
        zones_by_day: dict[date, list[str]] = {}
        for name in iana_zones():
            zones_by_day.setdefault(_local_date(name, at_ms), []).append(name)
        default_day = _local_date(leaf.zone, at_ms)
        date_text = f"JSONExtractString({date_value})"
        month_and_day = f"if(is_text({date_value}) AND is_date({date_text}), substring({date_text}, 6, 5), '')"
        zone_name = f"if(is_text({zone_value}), JSONExtractString({zone_value}), '')"
        # At any instant there are two or three local dates on Earth: one branch for each, and the default zone's for
        # all other values.
        branches = [
            f"{parameters.is_one_of(zone_name, names)}, {_is_about_anniversary(parameters, leaf, month_and_day, day)}"
            for day, names in sorted(zones_by_day.items())
            if day != default_day
        ]
        default_branch = _is_about_anniversary(parameters, leaf, month_and_day, default_day)
        return f"multiIf({', '.join([*branches, default_branch])})" if branches else default_branch

    def subject(self) -> str:
        return f"the anniversary of {self.calendar.trait}:"

    def expectation(self) -> str:
        leaf = self.calendar
        days = "its day" if leaf.days == 1 else f"{leaf.days} days"
        start = "" if leaf.before == 0 else f", from {leaf.before} days before"
        return f"{days}{start}, in the zone {leaf.zone_trait} or {leaf.zone}"

    def displayed_value(self, result: LeafResult, _inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> Any:
        if result.value is None:
            value = facts.trait_value(self.calendar.trait)
            return (
                None if value is None else {"value": value, "is": _NO_DATE if isinstance(value, str) else "a value that is no date"}
            )
        zone = zone_of(facts.trait_value(self.calendar.zone_trait), self.calendar.zone)
        today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(zone).date()
        return {"date": result.value, "today": today.isoformat(), "zone": zone.key}


def parse_date(value: object) -> date | None:
    """Return the date that a trait's value begins with; None when it begins with none. `is_date` in SQL does the same."""
    text = value[:10] if isinstance(value, str) else ""
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def anniversary_in(base_date: date, year: int) -> date:
    """Return the day of a year on which a date is remembered: 29 February on 28 February when the year has none."""
    is_leap_day = (base_date.month, base_date.day) == (2, 29)
    return date(year, 2, 28) if is_leap_day and not _is_leap_year(year) else date(year, base_date.month, base_date.day)


def _is_leap_year(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def zone_of(name: object, default: str) -> ZoneInfo:
    """Return the zone that a trait's value names, or the default one when it names none of the IANA database."""
    return _load_zone(name if isinstance(name, str) and name else default, default)


@lru_cache(maxsize=1024)
def _load_zone(name: str, default: str) -> ZoneInfo:
    return ZoneInfo(name if name in iana_zones() else default)


def local_midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return the instant at which a local day begins; where the clocks skip midnight, the first instant of the day."""
    # Where the clocks skip midnight, `fold` 0 reckons with the offset before the jump, which gives the instant of the jump itself.
    # Where midnight comes twice, it gives the first one, at which the day begins.
    local_midnight = datetime.combine(day, time.min, zone)
    return int(local_midnight.astimezone(UTC).timestamp() * 1000)


def _local_date(zone: str, at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, tz=zone_of(zone, "UTC")).date()


def _is_about_anniversary(parameters: QueryParameters, leaf: CalendarLeaf, month_and_day: str, today: date) -> str:
    """Write whether a month and day is one of those whose anniversary `today` is about: at most 366, counted out here."""
    return any_of([parameters.is_one_of(month_and_day, [f"{day:%m-%d}" for day in _DAYS_OF_YEAR if leaf.includes(day, today)])])
