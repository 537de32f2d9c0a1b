"""Turn a webhook's payload into calls as clients send them, by the mapping of its Source. Pure; no payload makes it raise.

Example: the rule `{when: {"$.status": "paid"}, events: [{type: track, name: Order Completed, identifiers: {email: "$.mail"}}]}`
turns the payload `{"status": "paid", "mail": "a@b.vn"}` into the call
`{"type": "track", "event": "Order Completed", "identifiers": {"email": "a@b.vn"}}`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from domain.instants import InstantReading, instant_ms, iso_instant
from domain.intake.rejection import CallRejected, Rejection
from domain.intake.values import text_of
from domain.intake.webhook_spec import (
    Constant,
    EventMapping,
    FirstOf,
    ForEach,
    MappingFields,
    MappingRule,
    MappingSpec,
    MappingValue,
    ReadPath,
    Transform,
    path_steps,
)
from domain.numbers import read_number
from schemas.reasons import Reason

_EPOCH_SECONDS: Final = InstantReading(format="epoch_seconds")
_EPOCH_MS: Final = InstantReading(format="epoch_ms")


def map_payload(spec: MappingSpec, payload: Any, max_calls: int) -> list[dict[str, Any]] | Rejection:
    """Return the calls that the first rule that applies makes of a decoded payload, or why it makes none.

    The list is empty when the rule ignores the payload. More than `max_calls` calls are a rejection. The path of a rejection is the
    path in the payload that could not be read, or the field of the event that needed it.
    """
    try:
        for rule in spec.rules:
            if _applies(rule, payload):
                return [] if rule.ignore else _build_calls(rule, payload, max_calls)
    except CallRejected as error:
        return error.rejection
    except RecursionError:
        return Rejection(Reason.WRONG_TYPE, "is nested too deeply")
    return Rejection(Reason.UNKNOWN_TYPE, "no rule of the source's mapping applies to this payload", "mapping.rules")


def _applies(rule: MappingRule, payload: Any) -> bool:
    for path, expected in rule.when.items():
        actual = _value_at(path, payload, None)
        if not any(_is_same(actual, alternative) for alternative in (expected if isinstance(expected, tuple) else (expected,))):
            return False
    return True


def _is_same(actual: Any, expected: Any) -> bool:
    """Return whether two values are equal and of one kind: 1 is not true."""
    return bool(actual == expected) and isinstance(actual, bool) == isinstance(expected, bool)


def _build_calls(rule: MappingRule, payload: Any, max_calls: int) -> list[dict[str, Any]]:
    elements = [None] if rule.each is None else _elements(rule.each, payload, None)
    if elements is None:
        raise CallRejected(Reason.MISSING_FIELD, "is missing: the rule makes an event of each of its elements", rule.each or "")
    if len(elements) * len(rule.events) > max_calls:
        raise CallRejected(
            Reason.TOO_MANY, f"makes {len(elements) * len(rule.events)} events, the limit is {max_calls}", rule.each or ""
        )
    return [_build_call(event, payload, element) for element in elements for event in rule.events]


def _build_call(event: EventMapping, payload: Any, element: Any) -> dict[str, Any]:
    scope = _Scope(payload, element)
    call: dict[str, Any] = {
        "type": scope.value(event.type, "type"),
        "identifiers": {name: scope.value(value, f"identifiers.{name}") for name, value in event.identifiers.items()},
    }
    for field, value in (("timestamp", event.time), ("messageId", event.message_id), ("groupId", event.group_id)):
        if value is not None and (resolved := scope.value(value, field)) is not None:
            call[field] = resolved
    if event.name is not None and (name := scope.value(event.name, "name")) is not None:
        call["event" if call["type"] == "track" else "name"] = name
    for field, fields in (("properties", event.properties), ("traits", event.traits), ("context", event.context)):
        if resolved := scope.fields(fields, field):
            call[field] = resolved
    return call


@dataclass(frozen=True, slots=True)
class _Scope:
    """The values that paths start from: `$` is the payload, `@` the element of the innermost `each`."""

    payload: Any
    element: Any

    def fields(self, fields: MappingFields, target: str) -> Any:
        """Return values by name, with dotted names nested; or the value at a path, which intake rejects if it is no object."""
        if isinstance(fields, str):
            return _value_at(fields, self.payload, self.element)
        result: dict[str, Any] = {}
        for name, value in fields.items():
            resolved = self.value(value, f"{target}.{name}")
            if resolved is None:
                continue
            *parents, leaf = name.split(".")
            inner = result
            for parent in parents:
                inner = inner.setdefault(parent, {})
                if not isinstance(inner, dict):
                    raise CallRejected(
                        Reason.WRONG_TYPE,
                        "another field of the mapping has put a plain value where this one needs an object",
                        f"{target}.{name}",
                    )
            inner[leaf] = resolved
        return result

    def value(self, value: MappingValue, target: str) -> Any:
        """Return what a value of the mapping is for this payload; None when the payload has nothing there."""
        if isinstance(value, str):
            return _value_at(value, self.payload, self.element) if value[:1] in ("$", "@") else value
        if isinstance(value, Constant):
            return value.const
        if isinstance(value, FirstOf):
            return next(
                (resolved for alternative in value.first if (resolved := self.value(alternative, target)) is not None), None
            )
        if isinstance(value, ForEach):
            elements = _elements(value.each, self.payload, self.element) or []
            return [_Scope(self.payload, element).fields(value.fields, target) for element in elements]
        if isinstance(value, ReadPath):
            return self._read(value, target)
        return value

    def _read(self, read: ReadPath, target: str) -> Any:
        result = _value_at(read.path, self.payload, self.element)
        for transform in read.as_:
            result = _transform(result, transform, read, target)
        if read.map is not None:
            key = text_of(result)
            result = read.map.get(key) if key is not None else None
        return read.default if result is None else result


def _elements(path: str, payload: Any, element: Any) -> list[Any] | None:
    """Return the elements of the list at a path, with `[*]` at its end or without; None when there is nothing."""
    elements = _value_at(path.removesuffix("[*]"), payload, element)
    if elements is not None and not isinstance(elements, list):
        raise CallRejected(Reason.WRONG_TYPE, "must be a list", path)
    return elements


def _value_at(path: str, payload: Any, element: Any) -> Any:
    """Return the value at a path, None if there is none; with `[*]` in the path the list of all values there."""
    return _walk(element if path.startswith("@") else payload, path_steps(path))


def _walk(value: Any, path: tuple[Any, ...]) -> Any:
    for index, step in enumerate(path):
        if step is None:
            if not isinstance(value, list):
                return None
            rest = path[index + 1 :]
            matches = [inner for element in value if (inner := _walk(element, rest)) is not None]
            return [item for inner in matches for item in inner] if None in rest else matches
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
        if value is None:
            return None
    return value


def _transform(value: Any, transform: Transform, read: ReadPath, target: str) -> Any:
    """Return the transformed value; of a list, the list of its transformed elements."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_transform(item, transform, read, target) for item in value]
    transformed = _TRANSFORMS[transform](value, read)
    if transformed is None:
        raise CallRejected(Reason.WRONG_TYPE, f"cannot be read as `{transform}` for {target}", read.path)
    return transformed


def _instant(value: Any, reading: InstantReading) -> str | None:
    at_ms = instant_ms(value, reading)
    return None if at_ms is None else iso_instant(at_ms)


def _string(value: Any) -> str | None:
    return text_of(value) or (repr(value) if isinstance(value, float) else value if value == "" else None)


_TRANSFORMS: Final[dict[Transform, Callable[[Any, ReadPath], Any]]] = {
    "lower": lambda value, _: value.lower() if isinstance(value, str) else None,
    "upper": lambda value, _: value.upper() if isinstance(value, str) else None,
    "trim": lambda value, _: value.strip() if isinstance(value, str) else None,
    "string": lambda value, _: _string(value),
    "number": lambda value, read: read_number(value, read.decimal),
    "iso": lambda value, read: _instant(value, read.instants),
    "epoch_seconds": lambda value, _: _instant(value, _EPOCH_SECONDS),
    "epoch_ms": lambda value, _: _instant(value, _EPOCH_MS),
}
