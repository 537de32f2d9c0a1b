"""Options that several commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer

DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="ONEFOLD_DATA_DIR", help="directory of the embedded stack; unused with ONEFOLD_MODE=server"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
DEFAULT_DIR: Final = Path(".onefold")
