"""The calendar leaf in SQL. What day it is in each zone is worked out here, so that both sides know the same zones. Pure."""

from datetime import date, datetime, timedelta
from typing import Final

from domain.segments.evaluate import anniversary, zone_of, zones
from domain.segments.leaf_models import CalendarLeaf
from domain.segments.sql.query import Parameters, any_of

_LEAP_YEAR: Final = 2000
_DAYS: Final = [date(_LEAP_YEAR, 1, 1) + timedelta(days=day) for day in range(366)]


def calendar(parameters: Parameters, leaf: CalendarLeaf, born: str, zone: str, at_ms: int) -> str:
    """Whether today is about the anniversary of `born`, an expression of JSON text, where `zone`, another one, says."""
    by_day: dict[date, list[str]] = {}
    for name in zones():
        by_day.setdefault(_today(name, at_ms), []).append(name)
    mine = _today(leaf.zone, at_ms)
    remembered = f"if(is_text({born}) AND is_date(JSONExtractString({born})), substring(JSONExtractString({born}), 6, 5), '')"
    named = f"if(is_text({zone}), JSONExtractString({zone}), '')"
    others = {day: parameters.is_one_of(named, names) for day, names in sorted(by_day.items()) if day != mine}
    branches = [f"{condition}, {_about(parameters, leaf, remembered, day)}" for day, condition in others.items()]
    at_home = _about(parameters, leaf, remembered, mine)
    return f"multiIf({', '.join([*branches, at_home])})" if branches else at_home


def _today(zone: str, at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, tz=zone_of(zone, "UTC")).date()


def _about(parameters: Parameters, leaf: CalendarLeaf, remembered: str, today: date) -> str:
    return any_of([parameters.is_one_of(remembered, [f"{day:%m-%d}" for day in _DAYS if _holds(leaf, day, today)])])


def _holds(leaf: CalendarLeaf, born: date, today: date) -> bool:
    starts = (anniversary(born, today.year + year) - timedelta(days=leaf.before) for year in (-1, 0, 1))
    return any(start <= today < start + timedelta(days=leaf.days) for start in starts)
