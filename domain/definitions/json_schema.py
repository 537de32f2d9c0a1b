"""JSON Schema 2020-12 of definitions, made from the models: for editors, forms and checks elsewhere. Pure.

It is of what people write: a key is left out rather than null. What no schema can say (one number smaller than another, a time zone
that exists, a name that is defined) `onefold plan` says.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter

from domain.fields import DURATION_SCHEMA
from domain.segments.comparisons import (INSTANT, MAX_OPTIONS, RELATIVE_OPS, TEXT_OPS)
from domain.definitions.kinds import AnyDefinition
from domain.segments.language import (KEYWORDS, AllOf, AnyOf, Leaf, Not, keyword_of)

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ANY: Final = "definition"
_NODES: Final = {keyword_of(kind): kind for kind in (*get_args(Leaf), AllOf, AnyOf, Not)}
_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_OTHER_OPS: Final = ("in", "exists", "before", "after", *RELATIVE_OPS)


def _slug(model: type[BaseModel]) -> str:
    kind: str = get_args(model.model_fields["kind"].annotation)[0]
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")


MODELS: Final[Mapping[str, type[BaseModel]]] = {_slug(model): model for model in get_args(AnyDefinition)}
"""`segment`, `computed-trait` … → the model of such a document."""


def schema(name: str) -> Schema:
    """The schema of one kind of definition (a key of MODELS), or of any (`definition`). Raises KeyError for another name."""
    made = _any() if name == ANY else MODELS[name].model_json_schema()
    defs = made.pop("$defs", {})
    defs = {key: _plain(one) for key, one in defs.items()}
    if "SegmentSpec" in defs:
        defs["Node"] = _node()
    for key, rule in _RULES.items():
        if key in defs:
            defs[key] |= rule
    body = _plain(made)
    title = (
        "Onefold definition"
        if name == ANY
        else f"Onefold definition of kind {get_args(MODELS[name].model_fields['kind'].annotation)[0]}"
    )
    return {
        "$schema": DIALECT,
        "title": title,
        **{key: value for key, value in body.items() if key != "title"},
        "$defs": _used(body, defs),
    }


def _any() -> Schema:
    """By the kind, so that an editor speaks of that one alone."""
    made = TypeAdapter(AnyDefinition).json_schema()
    kinds = {get_args(model.model_fields["kind"].annotation)[0]: model.__name__ for model in MODELS.values()}
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(kinds)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"$ref": f"#/$defs/{model}"}}
            for kind, model in kinds.items()
        ],
        "$defs": made["$defs"],
    }


def _node() -> Schema:
    """A condition as one object with exactly one key: an editor completes and names keys, where alternatives would only fail."""
    words: Schema = {}
    for word in KEYWORDS:
        own = _NODES[word].model_json_schema(ref_template="#/$defs/{model}")
        own = own["$defs"][_NODES[word].__name__] if "$ref" in own else own
        words[word] = {key: value for key, value in _plain(own["properties"][word]).items() if key != "title"}
        if _NODES[word].__doc__:
            words[word]["description"] = _line(_NODES[word].__doc__ or "")
    return {
        "title": "Node",
        "description": "A condition: exactly one of the language's words.",
        "type": "object",
        "properties": words,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


_NODE_NAMES: Final = {kind.__name__ for kind in _NODES.values()}
_NODE: Final[Schema] = {"$ref": "#/$defs/Node"}


def _plain(made: Any, *, properties: bool = False) -> Any:
    """Without nulls and made-up titles, docstrings in one line, conditions as `Node`. `properties`: the keys are names."""
    if isinstance(made, list):
        return [_plain(one) for one in made]
    if not isinstance(made, dict):
        return made
    if {one.get("$ref", "").rsplit("/")[-1].rsplit("__")[-1] for one in made.get("oneOf", ())} == _NODE_NAMES:
        return dict(_NODE)
    found = {key: _plain(value, properties=key == "properties" and not properties) for key, value in made.items()}
    if properties:
        return {name: {key: value for key, value in one.items() if key != "title"} for name, one in found.items()}
    if isinstance(found.get("description"), str):
        found["description"] = _line(found["description"])
    if "default" in found and found["default"] is None:
        del found["default"]
    if "anyOf" in found:
        found["anyOf"] = [one for one in found["anyOf"] if one != {"type": "null"}]
        if all(one.keys() == {"enum", "type"} for one in found["anyOf"]):
            found["anyOf"] = [{"type": "string", "enum": [option for one in found["anyOf"] for option in one["enum"]]}]
        if len(found["anyOf"]) == 1:
            [one] = found.pop("anyOf")
            found = {**one, **found}
    found.pop("discriminator", None)
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def _used(body: Schema, defs: Schema) -> Schema:
    """The definitions that are referred to, however indirectly."""
    found: set[str] = set()
    left = [*_references(body)]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _references(defs[name])
    return {name: defs[name] for name in sorted(found)}


def _references(made: Any) -> Iterator[str]:
    if isinstance(made, dict):
        if isinstance(made.get("$ref"), str):
            yield made["$ref"].rsplit("/")[-1]
        for value in made.values():
            yield from _references(value)
    elif isinstance(made, list):
        for value in made:
            yield from _references(value)


def _when(ops: tuple[str, ...], value: Schema, *, needed: bool = True) -> Schema:
    then: Schema = {"properties": {"value": value}, **({"required": ["value"]} if needed else {})}
    return {"if": {"properties": {"op": {"enum": list(ops)}}, "required": ["op"]}, "then": then}


def _comparison(*, relative: bool) -> Schema:
    """Which value goes with which `op`."""
    rules = [
        _when(("in",), {"type": "array", "minItems": 1, "maxItems": MAX_OPTIONS}),
        _when(("exists",), {"type": "boolean"}, needed=False),
        _when(("before", "after"), {"type": "string", "pattern": INSTANT}),
        {
            "if": {"not": {"properties": {"op": {"enum": list(_OTHER_OPS)}}, "required": ["op"]}},
            "then": {"properties": {"value": _SCALAR}, "required": ["value"]},
        },
        {
            "if": {"properties": {"fold": {"const": True}}, "required": ["fold"]},
            "then": {"properties": {"op": {"enum": list(TEXT_OPS)}}},
        },
    ]
    return {"allOf": [*rules, *([_when(RELATIVE_OPS, DURATION_SCHEMA)] if relative else [])]}


def _any_of(*names: str) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


def _group(*names: str) -> Schema:
    """A group has no computed traits, and its dates are not relative."""
    trait = {"path": {"not": {"pattern": r"^computed\."}}, "op": {"not": {"enum": list(RELATIVE_OPS)}}}
    return {**_any_of(*names), "allOf": [{"properties": {"trait": {"properties": trait}}}]}


_RULES: Final[Mapping[str, Schema]] = {
    "TraitLeaf": _comparison(relative=True),
    "PropertyCondition": _comparison(relative=False),
    "DidLeaf": {"not": {"required": ["exactly"], "anyOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]}},
    "SequenceLeaf": {"oneOf": [{"required": ["then"]}, {"required": ["then_not"]}]},
    "RfmLeaf": _any_of("recency", "frequency", "monetary"),
    "AccountLeaf": _group("trait", "members"),
    "HouseholdLeaf": _group("trait", "members", "did"),
    "ComputedTraitSpec": {"minProperties": 1, "maxProperties": 1},
}
"""What the models check beyond the kinds of their fields."""
