"""The `onefold` command."""

import importlib
import pkgutil
import sys

import typer

from ops import commands
from runtime.errors import OnefoldError


def build_application() -> typer.Typer:
    """The command line with every command of ops/commands."""
    app = typer.Typer(
        name="onefold",
        help="Onefold, an event-driven customer data platform: many touchpoints, one profile.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root_callback)
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}").register(app)
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
