"""`onefold identity`: why and how, cut, split and undo, operations and preview."""

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops.identity import render as say
from ops.identity.service import Desk
from ops.identity.connect import at_desk, previewed
from ops.connect import DEFAULT_DIR, AsJson, DataDir
from runtime.errors import Invalid

T = TypeVar("T")
WHO = "namespace:value, such as email:an@shop.vn, or a profile id"
OneName = Annotated[str, typer.Argument(metavar="A", help=WHO)]
OtherName = Annotated[str, typer.Argument(metavar="B", help=WHO)]
ProfileName = Annotated[str, typer.Argument(metavar="PROFILE", help=WHO)]
Reason = Annotated[str, typer.Option("--reason", help="why; it is kept for the audit")]
By = Annotated[str, typer.Option("--by", help="who decides; by default the user of the operating system")]
Names = Annotated[list[str] | None, typer.Option("--keep", metavar="NS:VALUE", help="an identifier that stays; may be repeated")]
Moved = Annotated[list[str] | None, typer.Option("--move", metavar="NS:VALUE", help="an identifier that moves; may be repeated")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="most entries shown")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Who is who, and why; taking profiles apart.", no_args_is_help=True)
    for command in (why, how, cut, split, undo, operations, preview):
        group.command()(command)
    app.add_typer(group, name="identity")


def why(a: OneName, b: OtherName, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Why two identifiers are one profile, or why they are not. Exit 0 for both answers."""
    _show(_ask(data_dir, lambda desk: desk.why(a, b)), say.why, as_json=as_json)


def how(profile: ProfileName, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """How a profile came about: its evidence in the order it counts, and what was left out."""
    _show(_ask(data_dir, lambda desk: desk.how(profile)), say.how, as_json=as_json)


def cut(a: OneName, b: OtherName, *, reason: Reason, by: By = "", as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Take away the evidence between two identifiers that were seen together themselves, for good."""
    who = by or _user()
    _show(_ask(data_dir, lambda desk: desk.cut(a, b, by=who, reason=reason)), say.decided, as_json=as_json)


def split(
    profile: ProfileName,
    *,
    reason: Reason,
    keep: Names = None,
    move: Moved = None,
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Take a profile apart in two: name the identifiers that stay, or those that move. Later events do not join the two again."""
    who = by or _user()
    made = _ask(data_dir, lambda desk: desk.split(profile, keep=keep or (), move=move or (), by=who, reason=reason))
    _show(made, say.decided, as_json=as_json)


def undo(
    operation: Annotated[str, typer.Argument(help="an operation, from `onefold identity operations`")],
    *,
    reason: Reason = "taken back",
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Take an operation back, where nothing was decided since. An undo can be undone."""
    who = by or _user()
    _show(_ask(data_dir, lambda desk: desk.undo(operation, by=who, reason=reason)), say.decided, as_json=as_json)


def operations(*, limit: Limit = 50, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Who decided what about identity, the latest first."""
    found = _ask(data_dir, lambda desk: desk.history.operations(limit))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    names = ("operation", "at", "action", "of", "pairs", "by", "reason")
    table = Table(*(Column(name, no_wrap=name in ("operation", "at", "action", "of")) for name in names))
    for entry in found:
        table.add_row(*(Text(say.plain(str(entry[name]))) for name in names))
    Console(soft_wrap=True).print(table)


def preview(
    rules: Annotated[Path, typer.Argument(metavar="RULES.yaml", help="a definition of kind IdentityRules")],
    *,
    limit: Limit = 50,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Which profiles would merge or split by other rules, over all that happened. Nothing is written."""
    _show(asyncio.run(previewed(data_dir, rules, limit)), say.preview, as_json=as_json)


def _ask(data_dir: Path, question: Callable[[Desk], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with at_desk(data_dir) as desk:
            return await question(desk)

    return asyncio.run(asked())


def _show(answer: dict[str, Any], lines: Callable[[dict[str, Any]], list[str]], *, as_json: bool) -> None:
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else "\n".join(map(say.plain, lines(answer))))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        raise Invalid("the operating system does not say who you are: use --by NAME", path="by") from None
