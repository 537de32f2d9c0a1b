"""JSON Schema for what pydantic's models check beyond the kinds of their fields: which keys and values go together. Pure."""

from typing import Any, Final

from domain.fields import DURATION_SCHEMA
from domain.segments.comparisons import DATE_OPS, MAX_OPTIONS, RELATIVE_OPS, TEXT_OPS
from domain.segments.dates import INSTANT_PATTERN

_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_OTHER_OPS: Final = ("in", "exists", "before", "after", *RELATIVE_OPS)


def comparison_rules(*, with_relative_dates: bool) -> dict[str, Any]:
    """Return which kind of `value` goes with which `op`."""
    date_ops = [*DATE_OPS, *(RELATIVE_OPS if with_relative_dates else ())]
    rules = [
        _when_op(("in",), {"type": "array", "minItems": 1, "maxItems": MAX_OPTIONS}),
        _when_op(("exists",), {"type": "boolean"}, is_required=False),
        _when_op(("before", "after"), {"type": "string", "pattern": INSTANT_PATTERN}),
        {
            "if": {"not": {"properties": {"op": {"enum": list(_OTHER_OPS)}}, "required": ["op"]}},
            "then": {"properties": {"value": _SCALAR}, "required": ["value"]},
        },
        {
            "if": {"properties": {"fold": {"const": True}}, "required": ["fold"]},
            "then": {"properties": {"op": {"enum": list(TEXT_OPS)}}},
        },
        {
            "if": {"properties": {"zone": {"type": "string"}}, "required": ["zone"]},
            "then": {
                "properties": {"op": {"enum": date_ops}},
                "required": ["op"],
            },
        },
    ]
    return {"allOf": [*rules, *([_when_op(RELATIVE_OPS, DURATION_SCHEMA)] if with_relative_dates else [])]}


def requires_any_of(*names: str) -> dict[str, Any]:
    """Return that at least one of these keys must be given."""
    return {"anyOf": [{"required": [name]} for name in names]}


def group_rules(*names: str) -> dict[str, Any]:
    """Return that one of these keys must be given, and that a group's trait is neither computed nor a relative date."""
    trait = {"path": {"not": {"pattern": r"^computed\."}}, "op": {"not": {"enum": list(RELATIVE_OPS)}}}
    return {**requires_any_of(*names), "allOf": [{"properties": {"trait": {"properties": trait}}}]}


def _when_op(ops: tuple[str, ...], value: dict[str, Any], *, is_required: bool = True) -> dict[str, Any]:
    consequence: dict[str, Any] = {"properties": {"value": value}, **({"required": ["value"]} if is_required else {})}
    return {"if": {"properties": {"op": {"enum": list(ops)}}, "required": ["op"]}, "then": consequence}
