"""`onefold identity`: why and how, cut, split and undo, operations and preview."""

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ops.cli import identity_answers
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import escape_controls
from ops.identity.connect import open_identity_service, preview_rules_file
from ops.identity.service import IdentityService
from runtime.errors import Invalid

T = TypeVar("T")
REFERENCE_HELP = "namespace:value, such as email:an@shop.vn, or a profile id"
FirstReference = Annotated[str, typer.Argument(metavar="A", help=REFERENCE_HELP)]
SecondReference = Annotated[str, typer.Argument(metavar="B", help=REFERENCE_HELP)]
ProfileReference = Annotated[str, typer.Argument(metavar="PROFILE", help=REFERENCE_HELP)]
Reason = Annotated[str, typer.Option("--reason", help="why; it is stored for the audit")]
By = Annotated[str, typer.Option("--by", help="who decides; by default the user of the operating system")]
KeepOption = Annotated[
    list[str] | None, typer.Option("--keep", metavar="NS:VALUE", help="an identifier that stays; may be repeated")
]
MoveOption = Annotated[
    list[str] | None, typer.Option("--move", metavar="NS:VALUE", help="an identifier that moves; may be repeated")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="the largest number of entries shown")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Explain why identifiers are one profile, and take profiles apart.", no_args_is_help=True)
    for command in (why, how, cut, split, undo, operations, preview):
        group.command()(command)
    app.add_typer(group, name="identity")


def why(a: FirstReference, b: SecondReference, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Explain why two identifiers are one profile, or why they are not.

    Exit 0 for both answers.
    """
    _print_answer(_with_service(data_dir, lambda service: service.why(a, b)), identity_answers.why, as_json=as_json)


def how(profile: ProfileReference, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Explain how a profile came about: its evidence in the order in which it counts, and the evidence that was left out."""
    _print_answer(_with_service(data_dir, lambda service: service.how(profile)), identity_answers.how, as_json=as_json)


def cut(
    a: FirstReference, b: SecondReference, *, reason: Reason, by: By = "", as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR
) -> None:
    """Cut the evidence between two identifiers that were seen together in one event. Later events do not join them again."""
    decided_by = by or _operating_system_user()
    _print_answer(
        _with_service(data_dir, lambda service: service.cut(a, b, by=decided_by, reason=reason)),
        identity_answers.decision,
        as_json=as_json,
    )


def split(
    profile: ProfileReference,
    *,
    reason: Reason,
    keep_identifiers: KeepOption = None,
    move_identifiers: MoveOption = None,
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Split a profile in two.

    Name the identifiers that stay, or those that move. Later events do not join the two profiles again.
    """
    decided_by = by or _operating_system_user()
    decision = _with_service(
        data_dir,
        lambda service: service.split(
            profile, keep=keep_identifiers or (), move=move_identifiers or (), by=decided_by, reason=reason
        ),
    )
    _print_answer(decision, identity_answers.decision, as_json=as_json)


def undo(
    operation: Annotated[str, typer.Argument(help="an operation, from `onefold identity operations`")],
    *,
    reason: Reason = "taken back",
    by: By = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Undo an operation.

    This is refused when a later operation has decided about the same identifiers. An undo can be undone.
    """
    decided_by = by or _operating_system_user()
    _print_answer(
        _with_service(data_dir, lambda service: service.undo(operation, by=decided_by, reason=reason)),
        identity_answers.decision,
        as_json=as_json,
    )


def operations(*, limit: Limit = 50, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """List the decisions about identity and who made them, the latest first."""
    entries = _with_service(data_dir, lambda service: service.history.operations(limit))
    if as_json:
        typer.echo(json.dumps(entries, ensure_ascii=False))
        return
    lines = map(escape_controls, identity_answers.operations(entries))
    typer.echo("\n".join(lines) if entries else "nobody has decided anything about identity yet")


def preview(
    rules: Annotated[Path, typer.Argument(metavar="RULES.yaml", help="a definition of kind IdentityRules")],
    *,
    limit: Limit = 50,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Show which profiles would merge or split by other rules, over all history. Nothing is written."""
    _print_answer(asyncio.run(preview_rules_file(data_dir, rules, limit)), identity_answers.preview, as_json=as_json)


def _with_service(data_dir: Path, call: Callable[[IdentityService], Awaitable[T]]) -> T:
    async def call_service() -> T:
        async with open_identity_service(data_dir) as service:
            return await call(service)

    return asyncio.run(call_service())


def _print_answer(answer: dict[str, Any], render_lines: Callable[[dict[str, Any]], list[str]], *, as_json: bool) -> None:
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else "\n".join(map(escape_controls, render_lines(answer))))


def _operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        raise Invalid("the operating system does not name its user: use --by NAME", path="by") from None
