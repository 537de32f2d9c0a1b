"""From a webhook's payload to calls as clients send them, by the mapping of its Source. Pure, and never raises for a payload."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from domain.intake.parse import Rejected
from domain.intake.values import instant_ms, text_of
from schemas.reasons import Reason
from domain.intake.webhook_spec import (Const, Each, EventMapping, Fields, First, MappingSpec, Read, Rule, Transform, Value, steps)

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")


@dataclass(frozen=True, slots=True)
class Mapped:
    """The calls of a payload; none when its rule says that it is to be ignored."""

    calls: list[dict[str, Any]]
    ignored: bool = False


class _Unmapped(Exception):
    def __init__(self, reason: Reason, detail: str, path: str) -> None:
        super().__init__(reason)
        self.rejected = Rejected(reason, detail, path)


def mapped(spec: MappingSpec, payload: Any, most: int) -> Mapped | Rejected:
    """The calls that the first rule that applies makes of a decoded payload, at most `most`; else why there are none.

    A rejected payload names a path in it where something could not be read, or the field of the event that needed it.
    """
    try:
        for rule in spec.rules:
            if _applies(rule, payload):
                return Mapped([], ignored=True) if rule.ignore else Mapped(_calls(rule, payload, most))
    except _Unmapped as unmapped:
        return unmapped.rejected
    except RecursionError:
        return Rejected(Reason.WRONG_TYPE, "is nested too deeply")
    return Rejected(Reason.UNKNOWN_TYPE, "no rule of the source's mapping is for this payload", "mapping.rules")


def _applies(rule: Rule, payload: Any) -> bool:
    for path, wanted in rule.when.items():
        found = _at(path, payload, None)
        if not any(_same(found, one) for one in (wanted if isinstance(wanted, tuple) else (wanted,))):
            return False
    return True


def _same(found: Any, wanted: Any) -> bool:
    """Equal and of one kind: 1 is not true."""
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _calls(rule: Rule, payload: Any, most: int) -> list[dict[str, Any]]:
    elements = [None] if rule.each is None else _elements(rule.each, payload, None)
    if elements is None:
        raise _Unmapped(Reason.MISSING_FIELD, "is missing: the rule makes an event of each of its elements", rule.each or "")
    if len(elements) * len(rule.events) > most:
        raise _Unmapped(Reason.TOO_MANY, f"makes {len(elements) * len(rule.events)} events, the limit is {most}", rule.each or "")
    return [_call(event, payload, element) for element in elements for event in rule.events]


def _call(event: EventMapping, payload: Any, element: Any) -> dict[str, Any]:
    scope = _Scope(payload, element)
    call: dict[str, Any] = {
        "type": scope.value(event.type, "type"),
        "identifiers": {name: scope.value(value, f"identifiers.{name}") for name, value in event.identifiers.items()},
    }
    for field, value in (("timestamp", event.time), ("messageId", event.message_id), ("groupId", event.group_id)):
        if value is not None and (found := scope.value(value, field)) is not None:
            call[field] = found
    if event.name is not None and (name := scope.value(event.name, "name")) is not None:
        call["event" if call["type"] == "track" else "name"] = name
    for field, fields in (("properties", event.properties), ("traits", event.traits), ("context", event.context)):
        if found := scope.fields(fields, field):
            call[field] = found
    return call


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where paths look: `$` is the payload, `@` the element of the innermost `each`."""

    payload: Any
    element: Any

    def fields(self, fields: Fields, target: str) -> Any:
        """Values by name, dotted names nested; or the object at a path, whatever it is: intake says if it is none."""
        if isinstance(fields, str):
            return _at(fields, self.payload, self.element)
        out: dict[str, Any] = {}
        for name, value in fields.items():
            found = self.value(value, f"{target}.{name}")
            if found is None:
                continue
            *parents, last = name.split(".")
            inner = out
            for parent in parents:
                inner = inner.setdefault(parent, {})
                if not isinstance(inner, dict):
                    raise _Unmapped(Reason.WRONG_TYPE, "another field of the mapping has its place", f"{target}.{name}")
            inner[last] = found
        return out

    def value(self, value: Value, target: str) -> Any:
        """What a value of the mapping is for this payload; None when there is nothing."""
        if isinstance(value, str):
            return _at(value, self.payload, self.element) if value[:1] in ("$", "@") else value
        if isinstance(value, Const):
            return value.const
        if isinstance(value, First):
            return next((found for one in value.first if (found := self.value(one, target)) is not None), None)
        if isinstance(value, Each):
            elements = _elements(value.each, self.payload, self.element) or []
            return [_Scope(self.payload, element).fields(value.fields, target) for element in elements]
        if isinstance(value, Read):
            return self._read(value, target)
        return value

    def _read(self, read: Read, target: str) -> Any:
        found = _at(read.path, self.payload, self.element)
        for transform in read.as_:
            found = _all(found, transform, read.path, target)
        if read.map is not None:
            key = text_of(found)
            found = read.map.get(key) if key is not None else None
        return read.default if found is None else found


def _elements(path: str, payload: Any, element: Any) -> list[Any] | None:
    """The elements at a path, `[*]` at its end or not; None when there is nothing."""
    found = _at(path.removesuffix("[*]"), payload, element)
    if found is not None and not isinstance(found, list):
        raise _Unmapped(Reason.WRONG_TYPE, "must be a list", path)
    return found


def _at(path: str, payload: Any, element: Any) -> Any:
    """What is at a path, None if nothing is; with `[*]` in it the list of all that is there."""
    return _walk(element if path.startswith("@") else payload, steps(path))


def _walk(value: Any, path: tuple[Any, ...]) -> Any:
    for index, step in enumerate(path):
        if step is None:
            if not isinstance(value, list):
                return None
            rest = path[index + 1 :]
            found = [inner for one in value if (inner := _walk(one, rest)) is not None]
            return [item for inner in found for item in inner] if None in rest else found
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
        if value is None:
            return None
    return value


def _all(value: Any, transform: Transform, path: str, target: str) -> Any:
    """The transform of a value, or of each of a list's."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_all(one, transform, path, target) for one in value]
    found = _TRANSFORMS[transform](value)
    if found is None:
        raise _Unmapped(Reason.WRONG_TYPE, f"cannot be read as `{transform}` for {target}", path)
    return found


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or _NUMBER.fullmatch(text := value.strip()) is None:
        return None
    return float(text) if "." in text else int(text)


def _iso(at_ms: float | None) -> str | None:
    """An instant as every instant is spelt."""
    if at_ms is None or not 0 <= at_ms < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _epoch(value: Any, factor: int) -> str | None:
    number = _number(value)
    return None if number is None else _iso(number * factor)


def _string(value: Any) -> str | None:
    return text_of(value) or (repr(value) if isinstance(value, float) else value if value == "" else None)


_TRANSFORMS: Final[dict[Transform, Any]] = {
    "lower": lambda value: value.lower() if isinstance(value, str) else None,
    "upper": lambda value: value.upper() if isinstance(value, str) else None,
    "trim": lambda value: value.strip() if isinstance(value, str) else None,
    "string": _string,
    "number": _number,
    "iso": lambda value: _iso(instant_ms(value)),
    "epoch_seconds": lambda value: _epoch(value, 1000),
    "epoch_ms": lambda value: _epoch(value, 1),
}
