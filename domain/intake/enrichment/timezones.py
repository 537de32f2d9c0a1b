"""The name that a time zone has today: Asia/Saigon is Asia/Ho_Chi_Minh by the links of the tz database."""

from importlib.resources import files
from typing import Final

MAX_CHARS: Final = 64


def links(text: str) -> dict[str, str]:
    """Old name → name of today, from the text of `tzdata.zi`; a link to a link is followed."""
    said = {parts[2]: parts[1] for line in text.splitlines() if (parts := line.split()) and parts[0] == "L" and len(parts) == 3}
    found = {}
    for old, target in said.items():
        while target in said:
            target = said[target]
        found[old] = target
    return found


_LINKS: Final = links((files("tzdata") / "zoneinfo" / "tzdata.zi").read_text(encoding="ascii"))


def canonical(name: str) -> str:
    """The name that the zone has today, the same name when it is not an old one."""
    return _LINKS.get(name, name) if len(name) <= MAX_CHARS else name
