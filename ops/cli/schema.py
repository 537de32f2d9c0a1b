"""`onefold schema`."""

import json
import sys
from typing import Annotated

import typer

from domain.definitions.error_messages import closest_words, did_you_mean
from domain.definitions.json_schema import ANY_KIND, MODEL_BY_SLUG, definition_schema
from runtime.errors import Invalid

Kind = Annotated[str, typer.Argument(help=f"{', '.join(MODEL_BY_SLUG)}, or {ANY_KIND} for any of them")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(show)


def show(kind: Kind = ANY_KIND) -> None:
    """Print the JSON Schema (2020-12) of a kind of definition.

    Editors and other tools can check definitions against it.
    """
    sys.stdout.write(json.dumps(definition_schema(resolve_kind(kind)), ensure_ascii=False, indent=2) + "\n")


def resolve_kind(kind: str) -> str:
    """Return the name of the schema: `ComputedTrait` as well as `computed-trait`. Raises Invalid that names the closest kind."""
    names_by_key = {name.replace("-", ""): name for name in (*MODEL_BY_SLUG, ANY_KIND)}
    resolved = names_by_key.get(kind.lower().replace("-", "").replace("_", ""))
    if resolved is None:
        suggestion = (
            did_you_mean(closest_words(kind.lower(), names_by_key.values())) or f"there are {', '.join(names_by_key.values())}"
        )
        raise Invalid(f"there is no kind of that name: {suggestion}", reason="unknown_kind")
    return resolved
