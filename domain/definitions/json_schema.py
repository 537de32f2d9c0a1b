"""Build the JSON Schema 2020-12 of definitions from the models: for editors, forms and other tools. Pure.

The schema describes what people write: an absent key is left out rather than null. `onefold plan` checks what no schema can
express: that one number is smaller than another, that a time zone exists, that a name is defined.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter

from domain.definitions.kinds import AnyDefinition
from domain.segments.language import NODE_TYPES
from domain.segments.leaves import LEAVES
from domain.segments.leaves.leaf import LeafCondition
from domain.segments.schema_rules import comparison_rules

JsonSchema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ANY_KIND: Final = "definition"


def _kind_slug(model: type[BaseModel]) -> str:
    kind: str = get_args(model.model_fields["kind"].annotation)[0]
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")


MODEL_BY_SLUG: Final[Mapping[str, type[BaseModel]]] = {_kind_slug(model): model for model in get_args(AnyDefinition)}
"""From `segment`, `computed-trait` and so on to the model of such a document."""


def definition_schema(name: str) -> JsonSchema:
    """Return the schema of a kind (a key of MODEL_BY_SLUG), or of any (`definition`). Raises KeyError for another name."""
    generated = _any_kind_schema() if name == ANY_KIND else MODEL_BY_SLUG[name].model_json_schema()
    definitions = generated.pop("$defs", {})
    definitions = {key: _simplify(definition) for key, definition in definitions.items()}
    if "SegmentSpec" in definitions:
        definitions["Node"] = _node_schema()
    for key, rule in _MODEL_RULES.items():
        if key in definitions:
            definitions[key] |= rule
    body = _simplify(generated)
    title = (
        "Onefold definition"
        if name == ANY_KIND
        else f"Onefold definition of kind {get_args(MODEL_BY_SLUG[name].model_fields['kind'].annotation)[0]}"
    )
    return {
        "$schema": DIALECT,
        "title": title,
        **{key: value for key, value in body.items() if key != "title"},
        "$defs": _referenced_definitions(body, definitions),
    }


def _any_kind_schema() -> JsonSchema:
    """Return a schema that branches by the kind, so that an editor shows the errors of that kind alone."""
    generated = TypeAdapter(AnyDefinition).json_schema()
    kinds = {get_args(model.model_fields["kind"].annotation)[0]: model.__name__ for model in MODEL_BY_SLUG.values()}
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(kinds)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"$ref": f"#/$defs/{model}"}}
            for kind, model in kinds.items()
        ],
        "$defs": generated["$defs"],
    }


def _node_schema() -> JsonSchema:
    """Return a condition as one object with exactly one key, because editors complete keys and cannot explain alternatives."""
    conditions: JsonSchema = {}
    for keyword, node_type in NODE_TYPES.items():
        node_schema = node_type.model_json_schema(ref_template="#/$defs/{model}")
        node_schema = node_schema["$defs"][node_type.__name__] if "$ref" in node_schema else node_schema
        conditions[keyword] = {key: value for key, value in _simplify(node_schema["properties"][keyword]).items() if key != "title"}
        if node_type.__doc__:
            conditions[keyword]["description"] = _single_line(node_type.__doc__)
        if issubclass(node_type, LeafCondition):
            conditions[keyword]["examples"] = [node_type.example[keyword]]
    return {
        "title": "Node",
        "description": "A condition: exactly one of the language's words.",
        "type": "object",
        "properties": conditions,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


_NODE_NAMES: Final = {kind.__name__ for kind in NODE_TYPES.values()}
_NODE_REFERENCE: Final[JsonSchema] = {"$ref": "#/$defs/Node"}


def _simplify(generated: Any, *, properties: bool = False) -> Any:
    """Return a schema without nulls and generated titles, with docstrings in one line and conditions as `Node`.

    `properties` is true for an object whose keys are names of fields and not keywords of JSON Schema.
    """
    if isinstance(generated, list):
        return [_simplify(item) for item in generated]
    if not isinstance(generated, dict):
        return generated
    if {branch.get("$ref", "").rsplit("/")[-1].rsplit("__")[-1] for branch in generated.get("oneOf", ())} == _NODE_NAMES:
        return dict(_NODE_REFERENCE)
    simplified = {key: _simplify(value, properties=key == "properties" and not properties) for key, value in generated.items()}
    if properties:
        return {name: {key: value for key, value in field.items() if key != "title"} for name, field in simplified.items()}
    if isinstance(simplified.get("description"), str):
        simplified["description"] = _single_line(simplified["description"])
    if "default" in simplified and simplified["default"] is None:
        del simplified["default"]
    if "anyOf" in simplified:
        simplified["anyOf"] = [branch for branch in simplified["anyOf"] if branch != {"type": "null"}]
        if all(branch.keys() == {"enum", "type"} for branch in simplified["anyOf"]):
            simplified["anyOf"] = [
                {"type": "string", "enum": [option for branch in simplified["anyOf"] for option in branch["enum"]]}
            ]
        if len(simplified["anyOf"]) == 1:
            [branch] = simplified.pop("anyOf")
            simplified = {**branch, **simplified}
    simplified.pop("discriminator", None)
    return simplified


def _single_line(text: str) -> str:
    return " ".join(text.split())


def _referenced_definitions(body: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    """Return the definitions that the body refers to, directly or not."""
    names: set[str] = set()
    pending = [*_references(body)]
    while pending:
        name = pending.pop()
        if name not in names:
            names.add(name)
            pending += _references(definitions[name])
    return {name: definitions[name] for name in sorted(names)}


def _references(generated: Any) -> Iterator[str]:
    if isinstance(generated, dict):
        if isinstance(generated.get("$ref"), str):
            yield generated["$ref"].rsplit("/")[-1]
        for value in generated.values():
            yield from _references(value)
    elif isinstance(generated, list):
        for value in generated:
            yield from _references(value)


_MODEL_RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "PropertyComparison": comparison_rules(with_relative_dates=False),
    "ComputedTraitSpec": {"minProperties": 1, "maxProperties": 1},
    **{name: rules for leaf in LEAVES for name, rules in leaf.schema_rules.items()},
}
"""What the models check beyond the types of their fields."""
