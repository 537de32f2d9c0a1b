"""`onefold schema`."""

import json
import sys
from typing import Annotated

import typer

from runtime.errors import Invalid
from domain.definitions.error_messages import did_you_mean, nearest
from domain.definitions.json_schema import ANY, MODELS, schema

Kind = Annotated[str, typer.Argument(help=f"{', '.join(MODELS)}, or {ANY} for any of them")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(show)


def show(kind: Kind = ANY) -> None:
    """Print the JSON Schema (2020-12) of a kind of definition, for editors and checks elsewhere."""
    sys.stdout.write(json.dumps(schema(named(kind)), ensure_ascii=False, indent=2) + "\n")


def named(kind: str) -> str:
    """The schema that is meant: `ComputedTrait` as well as `computed-trait`. Raises Invalid that names the nearest."""
    known = {name.replace("-", ""): name for name in (*MODELS, ANY)}
    found = known.get(kind.lower().replace("-", "").replace("_", ""))
    if found is None:
        meant = did_you_mean(nearest(kind.lower(), known.values())) or f"there are {', '.join(known.values())}"
        raise Invalid(f"there is no kind of that name: {meant}", reason="unknown_kind")
    return found
