"""Turn a webhook's payload into calls as clients send them, by the mapping of its Source. Pure; no payload makes it raise.

Example: the rule `{when: {"$.status": "paid"}, events: [{type: track, name: Order Completed, identifiers: {email: "$.mail"}}]}`
turns the payload `{"status": "paid", "mail": "a@b.vn"}` into the call
`{"type": "track", "event": "Order Completed", "identifiers": {"email": "a@b.vn"}}`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from domain.instants import InstantReading, instant_ms, iso_instant
from domain.intake.durations import read_seconds
from domain.intake.raw_json import encode_fast
from domain.intake.rejection import CallRejected, Rejection
from domain.intake.values import text_of
from domain.intake.webhook_spec import (
    Conditions,
    Constant,
    EventMapping,
    FirstOf,
    ForEach,
    Join,
    MappingFields,
    MappingRule,
    MappingSpec,
    MappingValue,
    ReadPath,
    Transform,
    ValueTest,
    path_root,
    path_steps,
)
from domain.numbers import read_number
from schemas.reasons import Reason

_EPOCH_SECONDS: Final = InstantReading(format="epoch_seconds")
_EPOCH_MS: Final = InstantReading(format="epoch_ms")
MAX_MAPPED_BYTES: Final = 16 * 1024 * 1024
_WHOLE_PAYLOAD: Final = ReadPath(path="$")
_PHONE_SCHEMES: Final = ("tel", "sip", "sips")
_ENDS_OF_NUMBER: Final = str.maketrans("@?", ";;")


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """What a mapping reads: the decoded body, the request's headers by their names in small letters, and its query.

    `raw` are the bytes from which `payload` was decoded. `id` is the sender's id of the delivery, or "".
    """

    payload: Any
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


def map_delivery(
    spec: MappingSpec, delivery: WebhookDelivery, max_calls: int, max_bytes: int = MAX_MAPPED_BYTES
) -> list[dict[str, Any]] | Rejection:
    """Return the calls that the first rule that applies makes of a delivery, or why it makes none.

    The list is empty when the rule ignores the delivery. More than `max_calls` calls are a rejection, and so are calls that are
    larger than `max_bytes` together, since every call may repeat what the whole payload holds. The path of a rejection is the path
    in the delivery that could not be read, or the field of the event that needed it.
    """
    scope = _Scope(delivery, None)
    try:
        for rule in spec.rules:
            if scope.fulfils(rule.when):
                return [] if rule.ignore else _build_calls(rule, scope, max_calls, max_bytes)
    except CallRejected as error:
        return error.rejection
    except RecursionError:
        return Rejection(Reason.WRONG_TYPE, "is nested too deeply")
    return Rejection(Reason.UNKNOWN_TYPE, "no rule of the source's mapping applies to this payload", "mapping.rules")


def _build_calls(rule: MappingRule, scope: "_Scope", max_calls: int, max_bytes: int) -> list[dict[str, Any]]:
    elements = [None] if rule.each is None else scope.elements(rule.each)
    if elements is None:
        raise CallRejected(Reason.MISSING_FIELD, "is missing: the rule makes an event of each of its elements", rule.each or "")
    if len(elements) * len(rule.events) > max_calls:
        raise CallRejected(
            Reason.TOO_MANY, f"makes {len(elements) * len(rule.events)} events, the limit is {max_calls}", rule.each or ""
        )
    calls: list[dict[str, Any]] = []
    size_bytes = 0
    for inner in map(scope.inner, elements):
        for event in rule.events:
            if not inner.fulfils(event.when):
                continue
            calls.append(_build_call(event, inner))
            size_bytes += len(encode_fast(calls[-1]))
            if size_bytes > max_bytes:
                raise CallRejected(Reason.TOO_LARGE, f"makes events of more than {max_bytes} bytes", rule.each or "")
    return calls


def _build_call(event: EventMapping, scope: "_Scope") -> dict[str, Any]:
    call: dict[str, Any] = {
        "type": scope.value(event.type, "type"),
        "identifiers": {name: scope.value(value, f"identifiers.{name}") for name, value in event.identifiers.items()},
    }
    for name, value in (("timestamp", event.time), ("messageId", event.message_id), ("groupId", event.group_id)):
        if value is not None and (resolved := scope.value(value, name)) is not None:
            call[name] = resolved
    if event.name is not None and (name := scope.value(event.name, "name")) is not None:
        call["event" if call["type"] == "track" else "name"] = name
    for name, fields in (("properties", event.properties), ("traits", event.traits), ("context", event.context)):
        if resolved := scope.fields(fields, name):
            call[name] = resolved
    return call


@dataclass(frozen=True, slots=True)
class _Scope:
    """The values that paths start from: `$` is the payload, `@` the element of the innermost `each`, and the request's own."""

    delivery: WebhookDelivery
    element: Any
    read_once: dict[str, Any] = field(default_factory=dict)
    """What is the same for every element: the values of paths that start from the payload, by the path and its transforms."""

    def inner(self, element: Any) -> "_Scope":
        """Return the scope of an element."""
        return _Scope(self.delivery, element, self.read_once)

    def fulfils(self, conditions: Conditions) -> bool:
        """Return whether every path of the conditions is as it must be."""
        return all(_is_as_expected(self.at(path), expected) for path, expected in conditions.items())

    def at(self, path: str) -> Any:
        """Return the value at a path, None if there is none; with `[*]` in the path the list of all values there."""
        root, steps = path_root(path), path_steps(path)
        if root == "$headers":
            return self.delivery.headers.get(str(steps[0]))
        if root == "$query":
            return self.delivery.query.get(str(steps[0]))
        if root == "@":
            return _walk(self.element, steps)
        if path not in self.read_once:
            self.read_once[path] = _walk(self.delivery.payload, steps)
        return self.read_once[path]

    def elements(self, path: str) -> list[Any] | None:
        """Return the elements of the list at a path, with `[*]` at its end or without; None when there is nothing.

        `$.batches[*].orders[*]` gives the orders of all batches.
        """
        prefix = path.removesuffix("[*]")
        value = self.at(prefix)
        if value is None:
            return None
        lists = value if prefix != path and "[*]" in prefix else [value]
        if not all(isinstance(items, list) for items in lists):
            raise CallRejected(Reason.WRONG_TYPE, "must be a list", path)
        return [item for items in lists for item in items]

    def fields(self, fields: MappingFields, target: str) -> Any:
        """Return values by name, with dotted names nested; or the value at a path, which intake rejects if it is no object."""
        if isinstance(fields, str):
            return self.at(fields)
        result: dict[str, Any] = {}
        for name, value in fields.items():
            resolved = self.value(value, f"{target}.{name}")
            if resolved is None:
                continue
            *parents, leaf = name.split(".")
            parent_object = result
            for parent in parents:
                parent_object = parent_object.setdefault(parent, {})
                if not isinstance(parent_object, dict):
                    raise CallRejected(
                        Reason.WRONG_TYPE,
                        "another field of the mapping has put a plain value where this one needs an object",
                        f"{target}.{name}",
                    )
            parent_object[leaf] = resolved
        return result

    def value(self, value: MappingValue, target: str) -> Any:
        """Return what a value of the mapping is for this delivery; None when the delivery has nothing there."""
        if isinstance(value, str):
            return self.at(value) if value[:1] in ("$", "@") else value
        if isinstance(value, Constant):
            return value.const
        if isinstance(value, FirstOf):
            return next(
                (resolved for alternative in value.first if not _is_missing(resolved := self.value(alternative, target))), None
            )
        if isinstance(value, ForEach):
            return [self.inner(element).fields(value.fields, target) for element in self.elements(value.each) or []]
        if isinstance(value, Join):
            return self._join(value, target)
        if isinstance(value, ReadPath):
            return self._read(value, target)
        return value

    def _read(self, read: ReadPath, target: str) -> Any:
        if path_root(read.path) == "@":
            return self._convert(read, target)
        key = f"{target} {id(read)}"
        if key not in self.read_once:
            self.read_once[key] = self._convert(read, target)
        return self.read_once[key]

    def _convert(self, read: ReadPath, target: str) -> Any:
        result = _transformed(self.at(read.path), read.as_, read, target)
        if read.map is not None:
            key = str(result).lower() if isinstance(result, bool) else text_of(result)
            result = read.map.get(key) if key is not None else None
        return read.default if result is None else result

    def _join(self, join: Join, target: str) -> Any:
        texts = [_string(self.value(part, target)) for part in join.join]
        if any(not text for text in texts):
            return None
        return _transformed(join.with_.join(text for text in texts if text), join.as_, _WHOLE_PAYLOAD, target)


def _is_as_expected(actual: Any, expected: Any) -> bool:
    if isinstance(expected, ValueTest):
        if expected.exists is not None:
            return _is_missing(actual) != expected.exists
        if expected.starts_with is not None:
            return isinstance(actual, str) and actual.startswith(expected.starts_with)
        return not _is_as_expected(actual, expected.not_)
    return any(_is_same(actual, alternative) for alternative in (expected if isinstance(expected, tuple) else (expected,)))


def _is_missing(value: Any) -> bool:
    """Return whether a payload has nothing here: null, or a blank text, which senders write for nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def _is_same(actual: Any, expected: Any) -> bool:
    """Return whether two values are equal and of one kind: 1 is not true."""
    return bool(actual == expected) and isinstance(actual, bool) == isinstance(expected, bool)


def _walk(value: Any, path: tuple[Any, ...]) -> Any:
    for index, step in enumerate(path):
        if step is None:
            if not isinstance(value, list):
                return None
            rest = path[index + 1 :]
            matches = [match for element in value if (match := _walk(element, rest)) is not None]
            return [item for match in matches for item in match] if None in rest else matches
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
        if value is None:
            return None
    return value


def _transformed(value: Any, transforms: Sequence[Transform], read: ReadPath, target: str) -> Any:
    """Return the transformed value; of a list, the list of its transformed elements."""
    for transform in transforms:
        if value is None:
            return None
        if isinstance(value, list):
            return [_transformed(item, transforms, read, target) for item in value]
        value = _TRANSFORMS[transform](value, read)
        if value is None:
            raise CallRejected(Reason.WRONG_TYPE, f"cannot be read as `{transform}` for {target}", read.path)
    return value


def _milliseconds(value: Any) -> int | float | None:
    """Return a length of time that is given in milliseconds, in seconds."""
    number = read_number(value, ".")
    if number is None:
        return None
    seconds = number / 1000
    return int(seconds) if seconds.is_integer() else seconds


def _phone(value: Any) -> str | None:
    """Return the number of a `tel:` or `sip:` address; any other text, and a number, as it is."""
    text = text_of(value)
    scheme, colon, rest = (text or "").strip().partition(":")
    return rest.translate(_ENDS_OF_NUMBER).partition(";")[0] if colon and scheme.lower() in _PHONE_SCHEMES else text


def _instant(value: Any, reading: InstantReading) -> str | None:
    at_ms = instant_ms(value, reading)
    return None if at_ms is None else iso_instant(at_ms)


def _string(value: Any) -> str | None:
    return text_of(value) or (repr(value) if isinstance(value, float) else value if value == "" else None)


def _hash(value: Any) -> str | None:
    """Return 32 hex digits that stand for a text: an id that shows nothing of what it was made of."""
    text = _string(value)
    return None if text is None else blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"mapping").hexdigest()


_TRANSFORMS: Final[dict[Transform, Callable[[Any, ReadPath], Any]]] = {
    "lower": lambda value, _: value.lower() if isinstance(value, str) else None,
    "upper": lambda value, _: value.upper() if isinstance(value, str) else None,
    "trim": lambda value, _: value.strip() if isinstance(value, str) else None,
    "string": lambda value, _: _string(value),
    "number": lambda value, read: read_number(value, read.decimal),
    "iso": lambda value, read: _instant(value, read.instants),
    "epoch_seconds": lambda value, _: _instant(value, _EPOCH_SECONDS),
    "epoch_ms": lambda value, _: _instant(value, _EPOCH_MS),
    "seconds": lambda value, _: read_seconds(value),
    "milliseconds": lambda value, _: _milliseconds(value),
    "phone": lambda value, _: _phone(value),
    "hash": lambda value, _: _hash(value),
}
