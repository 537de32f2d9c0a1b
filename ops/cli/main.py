"""The `onefold` command."""

import importlib
import sys
from typing import Final

import typer

from runtime.errors import OnefoldError

MODULES: Final = (
    *(
        f"ops.cli.{name}"
        for name in (
            "account", "analytics_js", "definitions", "identity", "import_file", "prepare", "quality", "quarantine", "rebuild",
            "schema", "segments", "sql", "stack", "tracking_plan", "verify",
        )
    ),
    "demo.command",
)  # fmt: skip


def build_application() -> typer.Typer:
    """The command line with every command of MODULES."""
    app = typer.Typer(
        name="onefold",
        help="Onefold, an event-driven customer data platform: many touchpoints, one profile.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root_callback)
    for module in MODULES:
        importlib.import_module(module).register(app)
    return app


def main() -> None:
    """Run one command. An error that Onefold raises on purpose is one line on stderr and exit 1."""
    try:
        build_application()()
    except OnefoldError as error:
        sys.stderr.write(f"onefold: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _root_callback() -> None:
    """Every option can be set by the environment variable that its help names."""


if __name__ == "__main__":
    main()
