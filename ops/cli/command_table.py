"""The commands of `onefold` by name: which module each one lives in, and the line that `onefold --help` prints for it.

A command's module imports the drivers of Kafka, Redis and ClickHouse, which takes seconds of processor time. The table names
modules by string, so that `onefold --help` imports none of them and every command imports its own module alone. `demo.command` is
the one module outside `ops.cli`: the demo stands above `ops` and may import it, never the other way round, and a string makes no
import.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple

import typer
from typer import _click  # typer carries click with it and gives its types no public name; `import click` costs 0.1 s more
from typer.core import TyperGroup

from runtime.errors import Misconfigured


class CommandEntry(NamedTuple):
    """A command or a group of commands.

    `module` has `register(app)`, which adds it. `summary` is the first line of its help. `extra` names the optional dependencies of
    the package without which the module cannot be imported.
    """

    module: str
    summary: str
    extra: str = ""


COMMANDS: Final[Mapping[str, CommandEntry]] = MappingProxyType(
    {
        "up": CommandEntry("ops.cli.stack", "Start Kafka, Redis, ClickHouse and all of Onefold on this machine."),
        "down": CommandEntry("ops.cli.stack", "Stop what `onefold up` started, and wait until it has ended."),
        "status": CommandEntry("ops.cli.stack", "Show which processes run, and the addresses."),
        "plan": CommandEntry(
            "ops.cli.definitions", "Check all definitions of a file or directory, and show what `apply` would change."
        ),
        "apply": CommandEntry("ops.cli.definitions", "Check all definitions of a file or directory, then make them live."),
        "remove": CommandEntry("ops.cli.definitions", "Remove a definition, unless another one names it."),
        "definitions": CommandEntry(
            "ops.cli.definition_records", "List the definitions on the topic, and remove records that cannot be read."
        ),
        "profile": CommandEntry(
            "ops.cli.profile",
            "Show the profile of an identifier as it is now: identifiers, traits, counters, segments, accounts and household.",
        ),
        "segments": CommandEntry("ops.cli.segments", "Show who is in a segment and why, and whether the stream agrees with SQL."),
        "identity": CommandEntry("ops.cli.identity", "Explain why identifiers are one profile, and take profiles apart."),
        "quarantine": CommandEntry("ops.cli.quarantine", "List, repair, replay and discard the records that could not be stored."),
        "deliveries": CommandEntry("ops.cli.deliveries", "List the messages to destinations, and send them again."),
        "tokens": CommandEntry("ops.cli.tokens", "Say who may call the API, and for what."),
        "account": CommandEntry("ops.cli.account", "Add up what became of every accepted event."),
        "verify": CommandEntry("ops.cli.verify", "Compare state hashes of Redis and of ClickHouse's events."),
        "rebuild": CommandEntry("ops.cli.rebuild", "Rebuild a store from another one."),
        "sql": CommandEntry("ops.cli.sql", "Query ClickHouse as the analyst, who may read everything and change nothing."),
        "quality": CommandEntry("ops.cli.quality", "Score the data of a day by source and event, from 0 to 100."),
        "import": CommandEntry("ops.cli.import_file", "Import customers or past events from a file."),
        "webhooks": CommandEntry("ops.cli.webhooks", "Print the ready definitions for webhooks of other systems."),
        "tracking-plan": CommandEntry("ops.cli.tracking_plan", "Learn what a source's events look like."),
        "schema": CommandEntry("ops.cli.schema", "Print the JSON Schema (2020-12) of a kind of definition."),
        "analytics-js": CommandEntry(
            "ops.cli.analytics_js", "Fetch analytics.js for the classic snippet, which the collector serves."
        ),
        "adopt": CommandEntry(
            "ops.cli.adopt", "Adopt the Kafka log that is there now in place of the one that Redis and ClickHouse belong to."
        ),
        "prepare": CommandEntry(
            "ops.cli.prepare", "Create topics, tables, and the sources `default` (public) and `server` (trusted)."
        ),
        "demo": CommandEntry("demo.command", "Start Onefold and simulate the customers of a Vietnamese retailer.", extra="demo"),
    }
)
"""Every command, in the order of the listing."""


class LazyCommandGroup(TyperGroup):
    """The root of the command line: it imports a command's module when that command is asked for."""

    def list_commands(self, ctx: _click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        """Import the module of a command and return the command; None for a name that the table does not have."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            return load_command(entry.module, cmd_name)
        except ModuleNotFoundError as error:
            if not entry.extra:
                raise
            raise Misconfigured(f"`onefold {cmd_name}` needs {error.name}: pip install 'onefold[{entry.extra}]'") from error

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the listing from the table; the inherited method would import every module for its commands' summaries."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def load_command(module: str, name: str) -> _click.Command:
    """Import `module` and return its command `name`. Raises KeyError when the module registers no command of that name."""
    app = new_application()
    importlib.import_module(module).register(app)
    group = typer.main.get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError(f"{module} did not register into a group")
    return group.commands[name]


def new_application() -> typer.Typer:
    """Return an application without commands. Its help is plain text: rich costs half a second at every start."""
    app = typer.Typer(
        name="onefold",
        help="Onefold, an event-driven customer data platform: many touchpoints, one profile.",
        cls=LazyCommandGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root_callback)
    return app


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if is_asked:
        from importlib.metadata import version  # here, because most commands need no metadata

        typer.echo(f"onefold {version('onefold')}")
        raise typer.Exit


def _root_callback(
    *, version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version")] = False
) -> None:
    """Take the options of the command as a whole, and make typer see a group in a module that registers a single command."""
    del version
