"""Mending a raw record by rules: set, rename or drop a field by its dotted path. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.errors import Invalid
from domain.intake.values import Unparsable, loads


@dataclass(frozen=True, slots=True)
class Edits:
    """What to do to each record, in this order: `rename` (from, to), `drop`, `put` (path, JSON value). `raw` replaces it whole."""

    put: tuple[tuple[str, Any], ...] = ()
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.put or self.drop or self.rename) or self.raw is not None

    def apply(self, raw: bytes) -> bytes:
        """The mended record. Raises Invalid when fields are to be changed in what is no JSON object."""
        kept = raw if self.raw is None else self.raw
        if not (self.put or self.drop or self.rename):
            return kept
        try:
            value = loads(kept)
        except Unparsable:
            value = None
        if not isinstance(value, dict):
            raise Invalid("the record is no JSON object: mend it whole, from a file", path="raw", reason="not_an_object")
        for old, new in self.rename:
            found, there = _taken(value, old)
            if there:
                _put(value, new, found)
        for path in self.drop:
            _taken(value, path)
        for path, given in self.put:
            _put(value, path, given)
        return _written(value)


def _written(value: dict[str, Any]) -> bytes:
    """As JSON; a lone surrogate, which UTF-8 has not, stays an escape. Raises Invalid for a value nested beyond all reason."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
    except RecursionError:
        raise Invalid("the record is nested too deeply to be mended", path="raw", reason="too_deep") from None


def parsed(text: str) -> tuple[str, Any]:
    """`path=value`: the value is JSON if it can be read as that, else text. Raises Invalid without a path."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip(". "):
        raise Invalid("write it as path=value", path="set", reason="malformed")
    try:
        return path.strip(), json.loads(value)
    except ValueError:
        return path.strip(), value


def renamed(text: str) -> tuple[str, str]:
    """`old=new`, both dotted paths. Raises Invalid."""
    old, equals, new = (part.strip() for part in text.partition("="))
    if not equals or not old.strip(".") or not new.strip("."):
        raise Invalid("write it as old=new", path="rename", reason="malformed")
    return old, new


def _walked(value: dict[str, Any], path: str, step: Callable[[dict[str, Any], str], Any]) -> tuple[dict[str, Any] | None, str]:
    *above, last = path.split(".")
    held: Any = value
    for name in above:
        held = step(held, name)
        if not isinstance(held, dict):
            return None, last
    return held, last


def _taken(value: dict[str, Any], path: str) -> tuple[Any, bool]:
    held, last = _walked(value, path, lambda inner, name: inner.get(name))
    return (held.pop(last), True) if held is not None and last in held else (None, False)


def _put(value: dict[str, Any], path: str, given: Any) -> None:
    held, last = _walked(value, path, lambda inner, name: inner.setdefault(name, {}))
    if held is None:
        raise Invalid("the path leads through a value that is no object", path="set", reason="malformed")
    held[last] = given
