"""Proposes a tracking plan from what was seen. Pure: a person reads it before it holds."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.definitions.yaml_text import yaml_text

REQUIRED_SHARE: Final = 0.999
MIN_EVENTS: Final = 100
"""Of fewer events than this nothing is said to be required, nor to be one of a few values."""
MAX_VALUES: Final = 20
MIN_EVENTS_PER_VALUE: Final = 20
TYPE_SHARE: Final = 0.99
PII_SHARE: Final = 0.8
"""How many of the texts must look like addresses or numbers for a property to be one of contacts."""

_CONTACT: Final = re.compile(
    r"e[-_]?mail|phone|mobile|tel$|address|dia[_ ]?chi|địa[_ ]?chỉ|sdt|sđt|điện[_ ]?thoại|zalo", re.IGNORECASE
)
_IDENTIFIER: Final = re.compile(
    r"^(?:user|customer|crm|device|anonymous|caller|passport|national)[-_ ]?(?:id|number|no)$|cccd|cmnd|username|"
    r"^(?:first|last|full|middle|given|family)?[-_ ]?name$|^(?:họ|tên|họ[_ ]tên|ho[_ ]?ten)$",
    re.IGNORECASE,
)
_SENSITIVE: Final = re.compile(
    r"health|diagnos|religio|ethnic|politic|passw|secret|token|card[-_ ]?number|iban|bank[-_ ]?account|salary|birth|gender|"
    r"sức[_ ]khỏe",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the values of one property or trait of one event were. `some` are up to 21 of them as JSON, when they are short."""

    event: str
    section: str
    path: str
    present: int
    texts: int = 0
    integers: int = 0
    numbers: int = 0
    booleans: int = 0
    arrays: int = 0
    objects: int = 0
    moneys: int = 0
    datetimes: int = 0
    emails: int = 0
    phones: int = 0
    different: int = 0
    some: Sequence[str] = ()


def propose(source: str, events: Sequence[tuple[str, int]], seen: Sequence[Seen]) -> dict[str, Any]:
    """A TrackingPlan document in mode `observe` for these events (name and how often)."""
    planned: dict[str, Any] = {}
    for name, count in events:
        if not name or len(name) > 512:
            continue
        sections: dict[str, Any] = {}
        for one in seen:
            if one.event == name and one.path and len(one.path) <= 256:
                sections.setdefault(one.section, {})[one.path] = _property(one, count)
        planned[name] = sections
    spec = {"sources": [source], "mode": "observe", "events": planned}
    return {"apiVersion": "onefold/v1", "kind": "TrackingPlan", "metadata": {"name": source}, "spec": spec}


def as_yaml(document: dict[str, Any], about: str) -> str:
    """The document as `onefold apply` reads it, under a comment."""
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return comment + yaml_text(document)


def _property(seen: Seen, events: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = _type(seen)
    if kind is not None:
        found["type"] = kind
    if events >= MIN_EVENTS and seen.present > REQUIRED_SHARE * events:
        found["required"] = True
    pii = _pii(seen)
    if pii != "none":
        found["pii"] = pii
    elif kind in ("string", "integer") and (values := _few(seen)):
        found["enum"] = values
    return found


def _type(seen: Seen) -> str | None:
    """The type that nearly all values are of; None when they are of several."""
    most = TYPE_SHARE * seen.present
    if seen.texts >= most:
        narrower = (("money", seen.moneys), ("datetime", seen.datetimes))
        return next((name for name, count in narrower if count == seen.texts), "string")
    if seen.integers >= most:
        return "integer"
    counts = {
        "number": seen.integers + seen.numbers,
        "boolean": seen.booleans,
        "array": seen.arrays,
        "object": seen.objects,
    }
    return next((name for name, count in counts.items() if count >= most), None)


def _pii(seen: Seen) -> str:
    """A guess, by the name and by what the texts look like: rather one too many than one too few."""
    if _SENSITIVE.search(seen.path):
        return "sensitive"
    looks = max(seen.emails, seen.phones)
    if _CONTACT.search(seen.path) or (seen.texts and looks >= PII_SHARE * seen.texts):
        return "contact"
    return "identifier" if _IDENTIFIER.search(seen.path) else "none"


def _few(seen: Seen) -> list[Any]:
    """All values, when they are few and each came often enough that a new one would be news."""
    complete = seen.different == len(seen.some) <= MAX_VALUES
    if not complete or seen.present < max(MIN_EVENTS, MIN_EVENTS_PER_VALUE * len(seen.some)):
        return []
    return [json.loads(value) for value in seen.some]
