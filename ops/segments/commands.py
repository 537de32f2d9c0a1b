"""`onefold segments why` and `verify`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ops.reach import DEFAULT_DIR, AsJson, DataDir
from ops.segments import say
from ops.segments.reach import asking

Profile = Annotated[str, typer.Argument(metavar="PROFILE", help="namespace:value, such as email:an@shop.vn, or a profile id")]
Named = Annotated[str, typer.Argument(metavar="SEGMENT", help="a segment; none: all of them, in or out", show_default=False)]


def why(profile: Profile, segment: Named = "", *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Why somebody is in a segment or not: each condition, its value, the events behind it, when it changes. Exit 0 for both."""
    answer = asyncio.run(_why(profile, segment, data_dir))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console(highlight=False).print(say.why(answer) if segment else say.overview(answer))


async def _why(profile: str, segment: str, data_dir: Path) -> dict[str, Any]:
    async with asking(data_dir) as asked:
        return await (asked.why(profile, segment) if segment else asked.overview(profile))
