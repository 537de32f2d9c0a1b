"""The calendar leaf in SQL. What day it is in each zone is worked out here, so that both sides know the same zones. Pure."""

from datetime import date, datetime, timedelta
from typing import Final

from domain.segments.evaluate import anniversary_in, iana_zones, zone_of
from domain.segments.leaf_models import CalendarLeaf
from domain.segments.sql.query import QueryParameters, any_of

_LEAP_YEAR: Final = 2000
_DAYS: Final = [date(_LEAP_YEAR, 1, 1) + timedelta(days=day) for day in range(366)]


def calendar_sql(parameters: QueryParameters, leaf: CalendarLeaf, date_value: str, zone_value: str, at_ms: int) -> str:
    """Whether today is about the anniversary of `born`, an expression of JSON text, where `zone_value`, another one, says."""
    by_day: dict[date, list[str]] = {}
    for name in iana_zones():
        by_day.setdefault(_local_date(name, at_ms), []).append(name)
    default_day = _local_date(leaf.zone, at_ms)
    date_text = f"JSONExtractString({date_value})"
    month_and_day = f"if(is_text({date_value}) AND is_date({date_text}), substring({date_text}, 6, 5), '')"
    zone_name = f"if(is_text({zone_value}), JSONExtractString({zone_value}), '')"
    zones_by_day = {day: parameters.is_one_of(zone_name, names) for day, names in sorted(by_day.items()) if day != default_day}
    branches = [
        f"{condition}, {_is_about_anniversary(parameters, leaf, month_and_day, day)}" for day, condition in zones_by_day.items()
    ]
    default_branch = _is_about_anniversary(parameters, leaf, month_and_day, default_day)
    return f"multiIf({', '.join([*branches, default_branch])})" if branches else default_branch


def _local_date(zone: str, at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, tz=zone_of(zone, "UTC")).date()


def _is_about_anniversary(parameters: QueryParameters, leaf: CalendarLeaf, month_and_day: str, today: date) -> str:
    return any_of([parameters.is_one_of(month_and_day, [f"{day:%m-%d}" for day in _DAYS if _is_in_days(leaf, day, today)])])


def _is_in_days(leaf: CalendarLeaf, base_date: date, today: date) -> bool:
    starts = (anniversary_in(base_date, today.year + year) - timedelta(days=leaf.before) for year in (-1, 0, 1))
    return any(start <= today < start + timedelta(days=leaf.days) for start in starts)
