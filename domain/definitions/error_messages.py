"""What is wrong with a document, in its author's terms: the path as it was written, and the cure. Pure.

Pydantic's errors speak of unions, tags and types; here each is brought back to the place in the document, several of one place
become one, and those that only follow from others are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from domain.segments.language import KEYWORDS
from domain.definitions.model_shapes import (Shape, below, chosen, known_keys)

Path = tuple[str | int, ...]
MAX_FAULTS: Final = 12
MAX_KEY_CHARS: Final = 60
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
_OTHER_WORDS: Final = {"and": "all", "or": "any", "none": "not", "event": "did", "has_done": "did", "has_not_done": "did_not"}

_KINDS: Final = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "finite_number": "a finite number", "tuple_type": "a list", "list_type": "a list", "dict_type": "keys and values",
    "model_type": "keys and values", "model_attributes_type": "keys and values", "none_required": "nothing",
    "decimal_type": "a number", "decimal_parsing": "a number", "timezone_aware": "a date and time with its zone",
}  # fmt: skip
"""What is expected, by pydantic's name of the error. All other kinds are faults of a value of the right kind."""
_ORDER: Final = ("text", "a whole number", "a number", "a finite number", "true or false")


@dataclass(slots=True)
class _Place:
    """All that pydantic says of one place of the document. `shape` is what may stand there, or beside an unknown or missing key."""

    shape: Shape
    expected: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    missing: bool = False
    unknown: bool = False
    no_node: bool = False

    @property
    def faulty(self) -> bool:
        """Whether anything is left to say."""
        return bool(self.expected or self.options or self.said or self.missing or self.unknown or self.no_node)


def faults(document: Any, errors: Iterable[Mapping[str, Any]], root: Shape) -> list[str]:
    """One line for each fault, `path: what, and the cure`, in the document's order. `root` is what the document should be."""
    places: dict[Path, _Place] = {}
    for error in errors:
        path, shape = _place(document, error, root)
        place = places.setdefault(path, _Place(shape))
        _note(place, error, _value(document, path))
    _drop_followers(places)
    lines = [
        f"{_text(path)}: {_line(document, path, place)}"
        for path, place in sorted(places.items(), key=lambda item: _order(document, item[0]))
        if place.faulty
    ]
    more = len(lines) - MAX_FAULTS
    return lines if more <= 0 else [*lines[:MAX_FAULTS], f"and {more} more"]


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words most like this one, at most three."""
    return get_close_matches(word[:MAX_KEY_CHARS], sorted(known), n=3, cutoff=0.6)


def did_you_mean(words: Sequence[str]) -> str:
    """`did you mean a, b?`, empty without any."""
    return f"did you mean {' or '.join(f'`{word}`' for word in words)}?" if words else ""


def _place(document: Any, error: Mapping[str, Any], root: Shape) -> tuple[Path, Shape]:
    """The path of an error without pydantic's labels of unions, and what may stand at its last key's side."""
    steps = list(error["loc"])[1:]
    adds = error["type"] in ("missing", "extra_forbidden", "union_tag_invalid", "union_tag_not_found")
    at_tag = 0
    if error["type"].startswith("union_tag"):
        steps.append(error["ctx"]["discriminator"].strip("'"))
        at_tag = 1
    path: list[str | int] = []
    here, shape, beside = document, root, root
    while steps:
        if len(shape) > 1 and len(steps) > at_tag:
            shape = chosen(shape, steps.pop(0))
            if not steps:
                break
        step = steps.pop(0)
        inside = (isinstance(here, Mapping) and step in here) or (
            isinstance(here, list | tuple) and isinstance(step, int) and step < len(here)
        )
        if not inside and (steps or not adds or isinstance(step, int)):
            break
        path.append(step)
        here, beside, shape = here[step] if inside else None, shape, below(shape, step)
    return tuple(path), beside if adds else shape


def _value(document: Any, path: Path) -> Any:
    for step in path:
        if isinstance(document, Mapping):
            document = document.get(step)
        elif isinstance(document, list | tuple) and isinstance(step, int):
            document = document[step]
    return document


def _note(place: _Place, error: Mapping[str, Any], value: Any) -> None:
    kind, given = error["type"], error.get("ctx") or {}
    if kind in _KINDS:
        place.expected.append(_KINDS[kind])
    elif kind in ("literal_error", "enum", "union_tag_invalid"):
        wanted = str(given["expected_tags" if kind == "union_tag_invalid" else "expected"])
        place.options += [option.strip("' ") for option in wanted.replace("' or '", "', '").split(", ")]
        place.options = ["true" if option == "True" else option for option in place.options]
    elif kind == "missing" and isinstance(value, list | tuple):
        place.said.append("has too few entries")
    elif kind in ("missing", "union_tag_not_found"):
        place.missing = True
    elif kind == "extra_forbidden":
        place.unknown = True
    elif kind == "too_short" and isinstance(value, list | tuple | dict) and len(value) >= given["min_length"]:
        # Only those of its items that are right were counted.
        return
    elif kind == "unknown_node":
        place.no_node = True
    else:
        place.said.append(_said(kind, given, error["msg"]))


def _said(kind: str, given: Mapping[str, Any], message: str) -> str:
    """The fault of a value that is of the right kind."""
    match kind:
        case "value_error" | "assertion_error":
            return str(given["error"])
        case "too_short":
            return f"needs at least {given['min_length']}"
        case "too_long":
            return f"has more than {given['max_length']}: split it"
        case "string_too_short":
            return "must not be empty" if given["min_length"] == 1 else f"needs at least {given['min_length']} characters"
        case "string_too_long":
            return f"is longer than {given['max_length']} characters: shorten it"
        case "greater_than_equal" | "greater_than":
            return f"must be {'at least' if 'ge' in given else 'more than'} {_number(given.get('ge', given.get('gt')))}"
        case "less_than_equal" | "less_than":
            return f"must be {'at most' if 'le' in given else 'less than'} {_number(given.get('le', given.get('lt')))}"
        case "string_pattern_mismatch" if given["pattern"] == NAME_PATTERN:
            return "a name is 1 to 63 small letters a-z, digits and hyphens, and begins with a letter or digit"
        case "string_pattern_mismatch":
            return f"must fit the pattern {given['pattern']}"
        case "url_parsing" | "url_type" | "url_scheme" | "url_syntax_violation":
            return "must be an address such as https://shop.example.vn/hook"
        case _:
            return message.removeprefix("Input ").replace("should be", "must be")


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _drop_followers(places: dict[Path, _Place]) -> None:
    """Leave out what only follows: the other branches of a union whose branch was meant, a key missing since it is misspelled."""
    for path, place in places.items():
        if any(other[: len(path)] == path and len(other) > len(path) for other in places):
            place.expected.clear()
            place.options.clear()
        if place.unknown:
            meant = nearest(str(path[-1]), known_keys(place.shape))
            missing = places.get((*path[:-1], meant[0])) if meant else None
            if missing is not None:
                missing.missing = False


def _line(document: Any, path: Path, place: _Place) -> str:
    if place.unknown:
        return _unknown_key(path, known_keys(place.shape), _value(document, path[:-1]))
    if place.no_node:
        return _no_node(_value(document, path), known_keys(place.shape))
    if place.missing:
        return "is missing: add it"
    if place.options:
        given = _value(document, path)
        options = list(dict.fromkeys(place.options))
        meant = did_you_mean(nearest(given, options)) if isinstance(given, str) and len(options) > 1 else ""
        return f"must be {'one of ' if len(options) > 1 else ''}{', '.join(options)}{f': {meant}' if meant else ''}"
    if place.expected:
        kinds = sorted(set(place.expected), key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))
        if "a number" in kinds and "a whole number" in kinds:
            kinds.remove("a whole number")
        return f"must be {_comma(kinds)}"
    return "; ".join(dict.fromkeys(place.said))


def _unknown_key(path: Path, known: Sequence[str], holder: Any) -> str:
    if len(known) == 1 and known[0] in KEYWORDS and known[0] in holder:
        return f"a condition holds one word alone, here `{known[0]}`: move the key into it, or list two conditions under `all`"
    meant = did_you_mean(nearest(str(path[-1]), known))
    return f"unknown key: {meant or f'leave it out; known are {_comma(known)}'}"


def _no_node(given: Any, words: Sequence[str]) -> str:
    """A place where one of the language's words is expected."""
    if not isinstance(given, Mapping):
        return "must be a condition, such as {did: {event: Order Completed}}"
    found = [str(key) for key in given]
    if several := [word for word in found if word in words]:
        return f"holds several conditions, {_comma(several)}: list them under `all` or `any`"
    near = [word for key in found for word in ([_OTHER_WORDS[key]] if key in _OTHER_WORDS else nearest(key, words))]
    said = f"`{_step(found[0])}` is no condition" if found else "holds no condition"
    return f"{said}: {did_you_mean(near[:3]) or f'use one of {_comma(words)}'}"


def _comma(words: Iterable[str]) -> str:
    return ", ".join(words)


def _order(document: Any, path: Path) -> tuple[int, ...]:
    """Where a place stands in the document; what is missing comes last of its level."""
    order = []
    for step in path:
        if isinstance(document, Mapping):
            keys = list(document)
            order.append(keys.index(step) if step in document else len(keys))
            document = document.get(step)
        else:
            order.append(step if isinstance(step, int) else 0)
            document = document[step] if isinstance(document, list | tuple) and isinstance(step, int) else None
    return tuple(order)


def _text(path: Path) -> str:
    return ".".join(_step(step) for step in path) or "document"


def _step(step: str | int) -> str:
    text = str(step)
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= MAX_KEY_CHARS else f"{plain[:MAX_KEY_CHARS]}…"
