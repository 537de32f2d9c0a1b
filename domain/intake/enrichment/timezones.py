"""The current name of a time zone: Asia/Saigon is Asia/Ho_Chi_Minh by the links of the tz database. Pure."""

from importlib.resources import files
from typing import Final

MAX_CHARS: Final = 64


def parse_links(text: str) -> dict[str, str]:
    """Return the current name by old name, from the text of `tzdata.zi`. A link to a link is followed."""
    target_by_name = {
        parts[2]: parts[1] for line in text.splitlines() if (parts := line.split()) and parts[0] == "L" and len(parts) == 3
    }
    current_by_old_name = {}
    for old, target in target_by_name.items():
        while target in target_by_name:
            target = target_by_name[target]
        current_by_old_name[old] = target
    return current_by_old_name


_CURRENT_BY_OLD_NAME: Final = parse_links((files("tzdata") / "zoneinfo" / "tzdata.zi").read_text(encoding="ascii"))


def current_name(name: str) -> str:
    """Return the current name of a zone. A name that is current or unknown is returned as it is."""
    return _CURRENT_BY_OLD_NAME.get(name, name) if len(name) <= MAX_CHARS else name
