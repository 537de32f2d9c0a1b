"""`onefold webhooks`."""

import sys
from typing import Annotated

import typer

from ops.webhooks.catalogue import definition_of, samples_of, summary_of, webhook_names

Name = Annotated[str | None, typer.Argument(help="the system that sends, as the list has it; without one, the list is printed")]
Samples = Annotated[bool, typer.Option("--samples", help="print samples of what the system sends, instead of the definition")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("webhooks")(show)


def show(name: Name = None, *, samples: Samples = False) -> None:
    """Print the ready definitions for webhooks of other systems.

    Write one to a file (`onefold webhooks shopify > definitions/shopify.yaml`), set the secret that it names, and apply the
    directory.
    """
    if name is None:
        width = max(len(each) for each in webhook_names())
        sys.stdout.writelines(f"{each:<{width}}  {summary_of(each)}\n" for each in webhook_names())
    elif samples:
        sys.stdout.write("\n".join(sample.text for sample in samples_of(name)))
    else:
        sys.stdout.write(definition_of(name))
