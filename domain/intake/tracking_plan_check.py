"""Events held against a compiled tracking plan. Pure: what comes out names paths, rules and kinds, never a value."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import re2

from schemas.events import Event, Violation
from domain.intake.tracking_plan import (EventSpec, Mode, PropertySpec, TrackingPlanSpec, Unknown, options)

MAX_VIOLATIONS: Final = 20
"""How many are noted of one event: the first of them in the order of the plan."""
UNKNOWN_EVENT: Final = "unknown_event"
UNKNOWN: Final = "unknown"
ABOUT: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "type": "is of another type than planned",
    "enum": "is none of the planned values",
    "pattern": "does not have the planned form",
    "min": "is less than planned",
    "max": "is more than planned",
    "max_length": "is longer than planned",
    UNKNOWN: "is not planned",
    UNKNOWN_EVENT: "the event is not planned",
}
"""Every rule, and what is wrong in words."""

_MONEY: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,8})?")
_PLAIN: Final = re.compile(r"[^\W\d][\w $.-]{0,63}")
_DIGITS: Final = re.compile(r"\d{6}")
_PAGE: Final = frozenset({"path", "referrer", "search", "title", "url", "name", "category"})
_GIVEN: Final[Mapping[str, frozenset[str]]] = {"$page": _PAGE, "$screen": _PAGE, "$group": frozenset({"groupId"})}
"""What clients and intake add by themselves: planned everywhere."""


def kind_of(value: Any) -> str:
    """text, integer, number, boolean, array, object or null."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "null" if value is None else "array" if isinstance(value, list) else "object"


def _is_datetime(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 40 or value.isdigit():
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": _is_datetime,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "money": lambda value: isinstance(value, str) and _MONEY.fullmatch(value) is not None,
}


_FREE: Final[Mapping[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}


class _Found:
    """Violations as they are found: each path and rule once, `blocking` the first that may block."""

    __slots__ = ("blocking", "held")

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Violation] = {}
        self.blocking: Violation | None = None

    def add(self, path: str, rule: str, kind: str, *, blocks: bool = True) -> None:
        if (path, rule) in self.held or len(self.held) >= MAX_VIOLATIONS:
            return
        violation = self.held[path, rule] = Violation(path, rule, kind)
        if blocks and self.blocking is None:
            self.blocking = violation


class _Fields:
    """The properties of an object, compiled."""

    __slots__ = ("_at", "_given", "_required", "_rules", "_unknown")

    def __init__(self, at: str, specs: Mapping[str, PropertySpec], unknown: Unknown, given: frozenset[str] = frozenset()) -> None:
        self._at, self._unknown, self._given = at, unknown, given
        self._rules = {name: _Rule(f"{at}.{name}", spec, unknown) for name, spec in specs.items()}
        self._required = tuple(name for name, spec in specs.items() if spec.required)

    def check(self, held: Mapping[str, Any], found: _Found) -> None:
        for name in self._required:
            if held.get(name) is None:
                found.add(f"{self._at}.{name}", "missing", "null" if name in held else "")
        for name, value in held.items():
            if value is None:
                continue
            rule = self._rules.get(name)
            if rule is not None:
                if type(value) not in rule.free:
                    rule.check(value, found)
            elif self._unknown != "allow" and name not in self._given:
                found.add(f"{self._at}.{plain(name)}", UNKNOWN, kind_of(value), blocks=self._unknown == "block")


def _search(pattern: str) -> Any:
    """A set of one pattern: asked whether it is found, it answers in a fifth of the time that a search for where takes."""
    found = re2.Set.SearchSet(options())
    found.Add(pattern)
    found.Compile()
    return found


class _Rule:
    """One property, compiled. `path` is where it stands."""

    __slots__ = ("_enum", "_fields", "_fits", "_items", "_longest", "_max", "_min", "_path", "_pattern", "free")

    def __init__(self, path: str, spec: PropertySpec, unknown: Unknown) -> None:
        self._path, self._fits = path, None if spec.type is None else _TYPES[spec.type]
        self._enum = None if spec.enum is None else frozenset((isinstance(value, bool), value) for value in spec.enum)
        self._pattern = None if spec.pattern is None else _search(spec.pattern)
        self._min, self._max, self._longest = spec.min, spec.max, spec.max_length
        self._fields = _Fields(path, spec.properties, unknown) if spec.properties else None
        self._items = None if spec.items is None else _Rule(f"{path}[]", spec.items, unknown)
        more = (spec.enum, spec.pattern, spec.min, spec.max, spec.max_length, spec.items, spec.properties or None)
        self.free = _FREE.get(spec.type or "", frozenset()) if more.count(None) == len(more) else frozenset()
        """The classes of values that nothing more is asked of."""

    def check(self, value: Any, found: _Found) -> None:
        if self._fits is not None and not self._fits(value):
            found.add(self._path, "type", kind_of(value))
            return
        if self._enum is not None and (isinstance(value, list | dict) or (isinstance(value, bool), value) not in self._enum):
            found.add(self._path, "enum", kind_of(value))
        if self._pattern is not None and not (isinstance(value, str) and self._pattern.Match(value)):
            found.add(self._path, "pattern", kind_of(value))
        if self._longest is not None and isinstance(value, str | list) and len(value) > self._longest:
            found.add(self._path, "max_length", kind_of(value))
        if self._min is not None or self._max is not None:
            self._bounds(Decimal(repr(value) if isinstance(value, float) else value), kind_of(value), found)
        if self._fields is not None and isinstance(value, dict):
            self._fields.check(value, found)
        if self._items is not None and isinstance(value, list):
            for item in value:
                self._items.check(item, found)

    def _bounds(self, number: Decimal, kind: str, found: _Found) -> None:
        if self._min is not None and number < self._min:
            found.add(self._path, "min", kind)
        if self._max is not None and number > self._max:
            found.add(self._path, "max", kind)


def plain(name: str) -> str:
    """A name that a client made up, if it reads like a name; `*` for one that may be a value (an address, a number) or is long."""
    return name if _PLAIN.fullmatch(name) and not _DIGITS.search(name) else "*"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is not as planned, and the first violation that a plan in mode `block` does not let pass."""

    violations: tuple[Violation, ...] = ()
    blocking: Violation | None = None


FITS: Final = Verdict()


class CompiledPlan:
    """A plan made ready: `check` costs a few lookups a property."""

    def __init__(self, name: str, spec: TrackingPlanSpec) -> None:
        self.name, self.mode = name, spec.mode
        self._unknown_events: Unknown = spec.unknown_events
        self._events = {
            unicodedata.normalize("NFC", label): self._sections(label, event, spec) for label, event in spec.events.items()
        }

    @staticmethod
    def _sections(label: str, event: EventSpec, spec: TrackingPlanSpec) -> tuple[_Fields, _Fields]:
        unknown = event.unknown_properties or spec.unknown_properties
        given = _GIVEN.get(label, frozenset())
        return _Fields("properties", event.properties, unknown, given), _Fields("traits", event.traits, unknown)

    def knows(self, label: str) -> bool:
        """Whether the plan names an event."""
        return self._of(label) is not None

    def check(self, event: Event) -> Verdict:
        """Hold an event against the plan. The order of violations depends on plan and event alone."""
        sections = self._of(event.label)
        if sections is None:
            if self._unknown_events == "allow":
                return FITS
            violation = Violation("event", UNKNOWN_EVENT, "")
            return Verdict((violation,), violation if self._unknown_events == "block" else None)
        found = _Found()
        sections[0].check(event.properties, found)
        sections[1].check(event.traits, found)
        return Verdict(tuple(found.held.values()), found.blocking) if found.held else FITS

    def _of(self, label: str) -> tuple[_Fields, _Fields] | None:
        found = self._events.get(label)
        if found is not None or label.isascii():
            return found
        return self._events.get(unicodedata.normalize("NFC", label))


def counted_path(violation: Violation) -> str:
    """The path under which a violation is counted: names that clients made up are one, so that their number is the plan's."""
    if violation.rule != UNKNOWN:
        return violation.path
    return f"{violation.path.partition('.')[0]}.*"


__all__ = ["ABOUT", "FITS", "MAX_VIOLATIONS", "CompiledPlan", "Mode", "Verdict", "counted_path", "kind_of", "plain"]
