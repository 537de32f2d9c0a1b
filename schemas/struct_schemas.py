"""JSON Schemas of our records, the same on every version of Python."""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec


def struct_schemas(types: Sequence[Any], ref_template: str) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Return the schema of each type, and the schemas by name that they refer to as `ref_template` says.

    A docstring becomes a description without its indentation, which Python keeps up to 3.12 and removes from 3.13 on.
    """
    own, components = msgspec.json.schema_components(types, ref_template=ref_template)
    for schema in (*own, *components.values()):
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return own, components
