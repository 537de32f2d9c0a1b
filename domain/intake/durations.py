"""Read lengths of time as telephone systems write them. Pure."""

from typing import Any, Final

import re2

from domain.numbers import MAX_NUMBER_CHARS, read_number

_CLOCK: Final = re2.compile(r"(?:(?:([0-9]{1,3})\.)?([0-9]{1,4}):)?([0-9]{1,4}):([0-5]?[0-9](?:\.[0-9]{1,9})?)")


def read_seconds(value: Any) -> int | float | None:
    """Return a length of time in seconds, from a number or a text; None for anything else.

    259, `259`, `4:19`, `00:04:19`, `00:04:19.5` and `1.02:00:00` (a day and two hours) are lengths of time.
    """
    text = value.strip() if isinstance(value, str) and len(value) <= MAX_NUMBER_CHARS else ""
    match = _CLOCK.fullmatch(text) if text.isascii() else None
    if match is None:
        return read_number(value, ".")
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    seconds = float(match[4])
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return int(total) if total.is_integer() else total
