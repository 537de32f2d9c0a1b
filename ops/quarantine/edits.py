"""Repairing a raw record by rules: set, rename or remove a field by its dotted path. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from domain.intake.values import Unparsable, loads
from runtime.errors import Invalid


@dataclass(frozen=True, slots=True)
class RecordEdits:
    """The edits of each record, in this order: `rename` (from, to), `drop`, `put` (path, JSON value).

    `raw` replaces the record before that.
    """

    put: tuple[tuple[str, Any], ...] = ()
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.put or self.drop or self.rename) or self.raw is not None

    def apply(self, raw: bytes) -> bytes:
        """Return the edited record. Raises Invalid when fields are to be edited and the record is not a JSON object."""
        record = raw if self.raw is None else self.raw
        if not (self.put or self.drop or self.rename):
            return record
        try:
            value = loads(record)
        except Unparsable:
            value = None
        if not isinstance(value, dict):
            raise Invalid("the record is no JSON object: repair it as a whole, from a file", path="raw", reason="not_an_object")
        for old, new in self.rename:
            moved, is_present = _pop(value, old)
            if is_present:
                _put(value, new, moved)
        for path in self.drop:
            _pop(value, path)
        for path, new_value in self.put:
            _put(value, path, new_value)
        return _encode(value)


def _encode(value: dict[str, Any]) -> bytes:
    """Encode as JSON; a lone surrogate, which UTF-8 does not have, stays an escape. Raises Invalid when nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
    except RecursionError:
        raise Invalid("the record is nested too deeply to be repaired", path="raw", reason="too_deep") from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse `path=value`; the value is JSON if it can be read as JSON, else text. Raises Invalid without a path."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip(". "):
        raise Invalid("write it as path=value", path="set", reason="malformed")
    try:
        return path.strip(), json.loads(value)
    except ValueError:
        return path.strip(), value


def parse_rename(text: str) -> tuple[str, str]:
    """Parse `old=new`, both dotted paths. Raises Invalid."""
    old, equals, new = (part.strip() for part in text.partition("="))
    if not equals or not old.strip(".") or not new.strip("."):
        raise Invalid("write it as old=new", path="rename", reason="malformed")
    return old, new


def _parent_of(
    value: dict[str, Any], path: str, descend: Callable[[dict[str, Any], str], Any]
) -> tuple[dict[str, Any] | None, str]:
    *above, key = path.split(".")
    parent: Any = value
    for name in above:
        parent = descend(parent, name)
        if not isinstance(parent, dict):
            return None, key
    return parent, key


def _pop(value: dict[str, Any], path: str) -> tuple[Any, bool]:
    parent, key = _parent_of(value, path, lambda inner, name: inner.get(name))
    return (parent.pop(key), True) if parent is not None and key in parent else (None, False)


def _put(value: dict[str, Any], path: str, new_value: Any) -> None:
    parent, key = _parent_of(value, path, lambda inner, name: inner.setdefault(name, {}))
    if parent is None:
        raise Invalid("the path leads through a value that is no object", path="set", reason="malformed")
    parent[key] = new_value
