"""What the models of all definitions are made of: the strict base model, names, scalars, durations. Pure."""

from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from domain.instants import check_date_format
from schemas.instants import DAY_MS

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""What a name is: of a definition, a segment, a list, a computed trait, a source."""
_DURATION: Final = re2.compile(r"^([1-9][0-9]{0,8})(ms|s|m|h|d)$")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
DURATION_SCHEMA: Final[dict[str, Any]] = {
    "type": "string", "pattern": _DURATION.pattern, "examples": ["30m", "7d"],
    "description": "a whole number and a unit: ms, s, m, h, d",
}  # fmt: skip
MAX_DURATION_MS: Final = 3_660 * DAY_MS
"""Ten years and some days. It bounds windows, and so how long entries are retained."""

Scalar = (
    StrictStr
    | StrictBool
    | Annotated[StrictInt, Field(ge=-(2**63), lt=2**64)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)
"""Strict, so that `true` stays a boolean: a lax integer would take it as 1, which equals no boolean trait."""

WholeNumber = Annotated[int, Field(strict=True)]
"""An integer as it is written: pydantic alone would accept the text "5" and the boolean true."""
FiniteNumber = Annotated[float, Field(strict=True, allow_inf_nan=False)]

EventName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="a track event's name, or $page, $screen, $identify, $group, $alias, $call_ended …",
    ),
]
DottedPath = Annotated[str, Field(min_length=1, max_length=256, description="a name, or several with dots between: address.city")]


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        is_zone = False
    else:
        is_zone = name != "localtime"  # it names whatever zone the machine is set to
    if not is_zone:
        raise ValueError("no such time zone; they read like Asia/Ho_Chi_Minh")
    return name


ZoneName = Annotated[str, Field(max_length=64), AfterValidator(_checked_zone)]
"""The name of a time zone for reading local times from outside."""
DateFormat = Annotated[str, Field(max_length=64), AfterValidator(check_date_format)]
"""How a date is written: a format of `strptime`, or serial, epoch_seconds, epoch_ms."""


class StrictModel(BaseModel):
    """The base of every model of a definition: an unknown key is an error, and an instance never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_duration(value: object) -> int:
    """Return `30m`, `7d` … in milliseconds. Raises ValueError, with the expected form, for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    length_ms = int(match[1]) * _UNIT_MS[match[2]] if match else 0
    if not 0 < length_ms <= MAX_DURATION_MS:
        raise ValueError("a duration is a positive whole number with a unit, at most ten years: 500ms, 30s, 30m, 12h, 7d")
    return length_ms


def format_duration(length_ms: int) -> str:
    """Return the shortest text of a duration: `7d`, `90m`, `1500ms`."""
    unit, size = next((unit, size) for unit, size in reversed(_UNIT_MS.items()) if length_ms % size == 0)
    return f"{length_ms // size}{unit}"


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A length of time: text with a unit on the wire, milliseconds in Python."""
