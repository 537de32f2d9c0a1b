"""`onefold demo`."""

from pathlib import Path
from typing import Annotated

import typer

from demo.run import DemoOptions, run

DEFAULT_DIR = Path(".onefold/demo")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    *,
    seconds: Annotated[float, typer.Option(min=1, envvar="ONEFOLD_DEMO_SECONDS", help="how long customers are simulated")] = 60,
    forever: Annotated[bool, typer.Option("--forever", envvar="ONEFOLD_DEMO_FOREVER", help="simulate until Ctrl-C")] = False,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="ONEFOLD_DEMO_DATA_DIR", help="directory of the demo's own stack")
    ] = DEFAULT_DIR,
    seed: Annotated[int, typer.Option(envvar="ONEFOLD_DEMO_SEED", help="seed of the simulation")] = 1,
    rate: Annotated[float, typer.Option(min=1, max=2000, envvar="ONEFOLD_DEMO_RATE", help="events per second")] = 40,
    keep_data: Annotated[
        bool, typer.Option("--keep", envvar="ONEFOLD_DEMO_KEEP", help="continue with the data of the last run in the directory")
    ] = False,
) -> None:
    """Start Onefold and simulate the customers of a Vietnamese retailer.

    Exit 0 when every event is accounted for and every due message arrived at the demo's receiver with a valid signature.
    """
    raise typer.Exit(run(DemoOptions(None if forever else seconds, data_dir, seed, rate, keep_data)))
