"""Propose a tracking plan from statistics of past events. Pure. A person reviews the proposal before it is applied."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import re2

REQUIRED_SHARE: Final = 0.999
MIN_EVENTS: Final = 100
"""With fewer events the proposal requires no property, and lists no values."""
MAX_VALUES: Final = 20
MIN_EVENTS_PER_VALUE: Final = 20
TYPE_SHARE: Final = 0.99
PII_SHARE: Final = 0.8
"""The share of texts that must look like e-mail addresses or phone numbers for a property to be a contact."""

_CONTACT: Final = re2.compile(r"(?i)e[-_]?mail|phone|mobile|tel$|address|dia[_ ]?chi|địa[_ ]?chỉ|sdt|sđt|điện[_ ]?thoại|zalo")
_IDENTIFIER: Final = re2.compile(
    r"(?i)^(?:user|customer|crm|device|anonymous|caller|passport|national)[-_ ]?(?:id|number|no)$|cccd|cmnd|username|"
    r"^(?:first|last|full|middle|given|family)?[-_ ]?name$|^(?:họ|tên|họ[_ ]tên|ho[_ ]?ten)$"
)
_SENSITIVE: Final = re2.compile(
    r"(?i)health|diagnos|religio|ethnic|politic|passw|secret|token|card[-_ ]?number|iban|bank[-_ ]?account|salary|birth|gender|"
    r"sức[_ ]khỏe"
)


@dataclass(frozen=True, slots=True)
class PropertyStatistics:
    """Counts of the values of one property or trait of one event. `samples` are up to 21 short values as JSON."""

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
    distinct_values: int = 0
    samples: Sequence[str] = ()


def propose(source: str, events: Sequence[tuple[str, int]], statistics: Sequence[PropertyStatistics]) -> dict[str, Any]:
    """Return a TrackingPlan document in mode `observe` for these events, given as (name, count)."""
    planned_events: dict[str, Any] = {}
    statistics_by_event: dict[str, list[PropertyStatistics]] = {}
    for property_statistics in statistics:
        statistics_by_event.setdefault(property_statistics.event, []).append(property_statistics)
    for name, count in events:
        if not name or len(name) > 512:
            continue
        sections: dict[str, Any] = {}
        for property_statistics in statistics_by_event.get(name, ()):
            if property_statistics.path and len(property_statistics.path) <= 256:
                sections.setdefault(property_statistics.section, {})[property_statistics.path] = _property_rule(
                    property_statistics, count
                )
        planned_events[name] = sections
    spec = {"sources": [source], "mode": "observe", "events": planned_events}
    return {"apiVersion": "onefold/v1", "kind": "TrackingPlan", "metadata": {"name": source}, "spec": spec}


def _property_rule(statistics: PropertyStatistics, events: int) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    kind = _type(statistics)
    if kind is not None:
        rule["type"] = kind
    if events >= MIN_EVENTS and statistics.present > REQUIRED_SHARE * events:
        rule["required"] = True
    pii = _pii(statistics)
    if pii != "none":
        rule["pii"] = pii
    elif kind in ("string", "integer") and (values := _enum_values(statistics)):
        rule["enum"] = values
    return rule


def _type(statistics: PropertyStatistics) -> str | None:
    """Return the type of nearly all values; None when there are several types."""
    threshold = TYPE_SHARE * statistics.present
    if statistics.texts >= threshold:
        narrower_types = (("money", statistics.moneys), ("datetime", statistics.datetimes))
        return next((name for name, count in narrower_types if count == statistics.texts), "string")
    if statistics.integers >= threshold:
        return "integer"
    counts = {
        "number": statistics.integers + statistics.numbers,
        "boolean": statistics.booleans,
        "array": statistics.arrays,
        "object": statistics.objects,
    }
    return next((name for name, count in counts.items() if count >= threshold), None)


def _pii(statistics: PropertyStatistics) -> str:
    """Guess from the name and from the texts whether a property is personal. A false alarm is better than an omission."""
    if _SENSITIVE.search(statistics.path):
        return "sensitive"
    contact_like = max(statistics.emails, statistics.phones)
    if _CONTACT.search(statistics.path) or (statistics.texts and contact_like >= PII_SHARE * statistics.texts):
        return "contact"
    return "identifier" if _IDENTIFIER.search(statistics.path) else "none"


def _enum_values(statistics: PropertyStatistics) -> list[Any]:
    """Return all values, when they are few and each occurred often enough that a new one would be a surprise."""
    complete = statistics.distinct_values == len(statistics.samples) <= MAX_VALUES
    if not complete or statistics.present < max(MIN_EVENTS, MIN_EVENTS_PER_VALUE * len(statistics.samples)):
        return []
    return [json.loads(value) for value in statistics.samples]
