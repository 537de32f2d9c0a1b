"""Check events against a compiled tracking plan. Pure. Violations name paths, rules and kinds of values, never a value.

Example: a plan whose event `Order Completed` has `total: {type: number, required: true}` finds, in an event with `total: "12"`, the
violation (`properties.total`, `type`, `text`), and in an event without it (`properties.total`, `missing`, ``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import re2

from domain.intake.tracking_plan import EventSpec, PlanMode, PropertySpec, TrackingPlanSpec, UnknownPolicy
from domain.letters import unicode_form
from domain.re2_options import re2_options
from schemas.events import Event, PlanViolation

MAX_VIOLATIONS: Final = 20
"""How many violations of one event are reported: the first ones in the order of the plan."""
UNKNOWN_EVENT: Final = "unknown_event"
UNKNOWN_PROPERTY: Final = "unknown"
RULE_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "type": "is of another type than planned",
    "enum": "is none of the planned values",
    "pattern": "does not have the planned form",
    "min": "is less than planned",
    "max": "is more than planned",
    "max_length": "is longer than planned",
    UNKNOWN_PROPERTY: "is not planned",
    UNKNOWN_EVENT: "the event is not planned",
}
"""Every rule, and its violation in words."""

_MONEY: Final = re2.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,8})?")
_READABLE_NAME: Final = re2.compile(r"[\pL\p{Nl}\p{No}_][\pL\pN_ $.-]*")
_MAX_READABLE_CHARS: Final = 64
_LONG_NUMBER: Final = re2.compile(r"\p{Nd}{6}")
_PAGE_PROPERTIES: Final = frozenset({"path", "referrer", "search", "title", "url", "name", "category"})
_IMPLICIT_PROPERTIES: Final[Mapping[str, frozenset[str]]] = {
    "$page": _PAGE_PROPERTIES,
    "$screen": _PAGE_PROPERTIES,
    "$group": frozenset({"groupId"}),
}
"""Properties that clients and intake add by themselves. Every plan allows them."""


def json_kind(value: Any) -> str:
    """Return text, integer, number, boolean, array, object or null."""
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


_TYPE_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": _is_datetime,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "money": lambda value: isinstance(value, str) and _MONEY.fullmatch(value) is not None,
}


_UNCHECKED_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}


class _ViolationCollector:
    """Collects violations, each path and rule once. `blocking` is the first one that may block the event."""

    __slots__ = ("blocking", "violations")

    def __init__(self) -> None:
        self.violations: dict[tuple[str, str], PlanViolation] = {}
        self.blocking: PlanViolation | None = None

    def add(self, path: str, rule: str, kind: str, *, blocks: bool = True) -> None:
        if (path, rule) in self.violations or len(self.violations) >= MAX_VIOLATIONS:
            return
        violation = self.violations[path, rule] = PlanViolation(path, rule, kind)
        if blocks and self.blocking is None:
            self.blocking = violation


class _ObjectCheck:
    """The compiled check of an object's properties."""

    __slots__ = ("_checks", "_implicit", "_path", "_required_names", "_unknown_policy")

    def __init__(
        self, path: str, specs: Mapping[str, PropertySpec], unknown_policy: UnknownPolicy, implicit: frozenset[str] = frozenset()
    ) -> None:
        self._path = path
        self._unknown_policy = unknown_policy
        self._implicit = implicit
        self._checks = {name: _PropertyCheck(f"{path}.{name}", spec, unknown_policy) for name, spec in specs.items()}
        self._required_names = tuple(name for name, spec in specs.items() if spec.required)

    def check(self, values: Mapping[str, Any], collector: _ViolationCollector) -> None:
        for name in self._required_names:
            if self._checks[name].is_absent(values.get(name)):
                collector.add(f"{self._path}.{name}", "missing", json_kind(values[name]) if name in values else "")
        for name, value in values.items():
            if value is None:
                continue
            rule = self._checks.get(name)
            if rule is not None:
                if type(value) not in rule.unchecked_types:
                    rule.check(value, collector)
            elif self._unknown_policy != "allow" and name not in self._implicit:
                collector.add(
                    f"{self._path}.{redacted_name(name)}",
                    UNKNOWN_PROPERTY,
                    json_kind(value),
                    blocks=self._unknown_policy == "block",
                )


def _compile_search(pattern: str) -> Any:
    """Compile a pattern into a set of one. The set only tells whether it matches, which is five times faster than a search."""
    search_set = re2.Set.SearchSet(re2_options())
    search_set.Add(pattern)
    search_set.Compile()
    return search_set


class _PropertyCheck:
    """The compiled check of one property. `path` is the path of the property in the event."""

    __slots__ = (
        "_enum", "_fields", "_has_type", "_is_object", "_items", "_max", "_max_length", "_min", "_path", "_pattern",
        "unchecked_types",
    )  # fmt: skip

    def __init__(self, path: str, spec: PropertySpec, unknown_policy: UnknownPolicy) -> None:
        self._path = path
        self._is_object = spec.type == "object"
        self._has_type = None if spec.type is None else _TYPE_CHECKS[spec.type]
        # `true == 1` in Python: the flag keeps a boolean from matching a number.
        self._enum = None if spec.enum is None else frozenset((isinstance(value, bool), value) for value in spec.enum)
        self._pattern = None if spec.pattern is None else _compile_search(spec.pattern)
        self._min = spec.min
        self._max = spec.max
        self._max_length = spec.max_length
        self._fields = _ObjectCheck(path, spec.properties, unknown_policy) if spec.properties else None
        self._items = None if spec.items is None else _PropertyCheck(f"{path}[]", spec.items, unknown_policy)
        further_rules = (spec.enum, spec.pattern, spec.min, spec.max, spec.max_length, spec.items, spec.properties or None)
        self.unchecked_types = (
            _UNCHECKED_TYPES.get(spec.type or "", frozenset()) if further_rules.count(None) == len(further_rules) else frozenset()
        )
        """The classes of values that need no further check. The caller skips `check` for them, which saves a call a property."""

    def is_absent(self, value: Any) -> bool:
        """Return whether a value stands for none: null, or the empty list that PHP writes for an empty object."""
        return value is None or (self._is_object and value == [])

    def check(self, value: Any, collector: _ViolationCollector) -> None:
        if self.is_absent(value):
            return
        if self._has_type is not None and not self._has_type(value):
            collector.add(self._path, "type", json_kind(value))
            return
        if self._enum is not None and (isinstance(value, list | dict) or (isinstance(value, bool), value) not in self._enum):
            collector.add(self._path, "enum", json_kind(value))
        if self._pattern is not None and not (isinstance(value, str) and self._pattern.Match(value)):
            collector.add(self._path, "pattern", json_kind(value))
        if self._max_length is not None and isinstance(value, str | list) and len(value) > self._max_length:
            collector.add(self._path, "max_length", json_kind(value))
        if self._min is not None or self._max is not None:
            self._check_bounds(Decimal(repr(value) if isinstance(value, float) else value), json_kind(value), collector)
        if self._fields is not None and isinstance(value, dict):
            self._fields.check(value, collector)
        if self._items is not None and isinstance(value, list):
            for item in value:
                self._items.check(item, collector)

    def _check_bounds(self, number: Decimal, kind: str, collector: _ViolationCollector) -> None:
        if self._min is not None and number < self._min:
            collector.add(self._path, "min", kind)
        if self._max is not None and number > self._max:
            collector.add(self._path, "max", kind)


def redacted_name(name: str) -> str:
    """Return a name that a client made up; `*` when it is long or may be a value, such as an address or a number."""
    is_readable = len(name) <= _MAX_READABLE_CHARS and _READABLE_NAME.fullmatch(name) and not _LONG_NUMBER.search(name)
    return name if is_readable else "*"


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """The violations of an event, and the first one for which a plan in mode `block` blocks it."""

    violations: tuple[PlanViolation, ...] = ()
    blocking: PlanViolation | None = None


CONFORMING: Final = PlanCheck()


class CompiledPlan:
    """A compiled tracking plan. Its `check` costs a few lookups a property."""

    def __init__(self, name: str, spec: TrackingPlanSpec) -> None:
        self.name = name
        self.mode = spec.mode
        self._unknown_events: UnknownPolicy = spec.unknown_events
        self._events = {unicode_form("NFC", label): self._compile_event(label, event, spec) for label, event in spec.events.items()}

    @staticmethod
    def _compile_event(label: str, event: EventSpec, spec: TrackingPlanSpec) -> tuple[_ObjectCheck, _ObjectCheck]:
        unknown_policy = event.unknown_properties or spec.unknown_properties
        implicit = _IMPLICIT_PROPERTIES.get(label, frozenset())
        return _ObjectCheck("properties", event.properties, unknown_policy, implicit), _ObjectCheck(
            "traits", event.traits, unknown_policy
        )

    def has_event(self, label: str) -> bool:
        """Return whether the plan names an event."""
        return self._checks_for(label) is not None

    def check(self, event: Event) -> PlanCheck:
        """Check an event against the plan. The order of the violations depends on the plan and the event alone."""
        sections = self._checks_for(event.label)
        if sections is None:
            if self._unknown_events == "allow":
                return CONFORMING
            violation = PlanViolation("event", UNKNOWN_EVENT, "")
            return PlanCheck((violation,), violation if self._unknown_events == "block" else None)
        collector = _ViolationCollector()
        sections[0].check(event.properties, collector)
        sections[1].check(event.traits, collector)
        return PlanCheck(tuple(collector.violations.values()), collector.blocking) if collector.violations else CONFORMING

    def _checks_for(self, label: str) -> tuple[_ObjectCheck, _ObjectCheck] | None:
        checks = self._events.get(label)
        if checks is not None or label.isascii():
            return checks
        return self._events.get(unicode_form("NFC", label))


def metric_path(violation: PlanViolation) -> str:
    """Return the path under which a violation is counted. Names that clients made up share one: the plan bounds the number."""
    if violation.rule != UNKNOWN_PROPERTY:
        return violation.path
    return f"{violation.path.partition('.')[0]}.*"


__all__ = [
    "CONFORMING",
    "MAX_VIOLATIONS",
    "RULE_DESCRIPTIONS",
    "CompiledPlan",
    "PlanCheck",
    "PlanMode",
    "json_kind",
    "metric_path",
    "redacted_name",
]
