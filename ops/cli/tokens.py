"""`onefold tokens`: who may call the API, and for what."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from embedded.layout import Layout
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from runtime.api_tokens import ALL_SCOPES, SCOPES, ApiToken, add_token, make_token, read_tokens, revoke_token, token_hash
from runtime.clock import SystemClock
from runtime.errors import Invalid, Misconfigured
from runtime.variables import check_names

Name = Annotated[str, typer.Argument(metavar="NAME", help="who uses it, such as crm; it signs what is done")]
ScopeOption = Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help=f"{', '.join(SCOPES)}, or all; may be repeated")]
File = Annotated[
    Path | None,
    typer.Option("--file", envvar="ONEFOLD_API_TOKENS_FILE", help="the file of tokens; by default that of the embedded stack"),
]
Days = Annotated[int | None, typer.Option("--days", min=1, max=3_650, help="how long it is valid; by default until it is revoked")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Say who may call the API, and for what.", no_args_is_help=True)
    group.command()(add)
    group.command("list")(list_tokens)
    group.command()(revoke)
    app.add_typer(group, name="tokens")


def add(name: Name, *, scope: ScopeOption, days: Days = None, file: File = None, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Make a token and print it.

    It is printed once: the file of tokens has its hash alone. A running API takes it at once.
    """
    token, now = make_token(), datetime.fromtimestamp(SystemClock().now_ms() // 1000, UTC)
    stored = {
        "name": name,
        "sha256": token_hash(token),
        "scopes": _check_scopes(scope),
        "created_at": now,
        "expires_at": None if days is None else now + timedelta(days=days),
    }
    try:
        added = msgspec.convert(stored, ApiToken)
    except msgspec.ValidationError:
        raise Invalid("a name is lower-case letters, digits, dots, dashes and underscores, up to 63", path="name") from None
    add_token(_tokens_file(file, data_dir), added)
    typer.echo(token)


def list_tokens(*, as_json: AsJson = False, file: File = None, data_dir: DataDir = DEFAULT_DIR) -> None:
    """List the tokens: names, scopes, when they were made and when they expire."""
    tokens = read_tokens(_tokens_file(file, data_dir))
    if as_json:
        typer.echo(json.dumps([_to_json(token) for token in tokens]))
    else:
        typer.echo("\n".join(token_lines(tokens, SystemClock().now_ms())) or "there are no tokens: the API refuses everybody")


def revoke(name: Name, *, file: File = None, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Revoke a token: a running API refuses it from now on."""
    revoke_token(_tokens_file(file, data_dir), name)


def token_lines(tokens: Sequence[ApiToken], now_ms: int) -> Iterator[str]:
    """Yield a line for each token."""
    for token in tokens:
        if token.expires_at is None:
            validity = "valid until it is revoked"
        else:
            validity = f"{'expired' if token.is_expired(now_ms) else 'valid until'} {token.expires_at:%Y-%m-%d %H:%M}Z"
        yield f"{token.name}  {', '.join(token.scopes)}  made {token.created_at:%Y-%m-%d}, {validity}"


def _to_json(token: ApiToken) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(token)
    del shown["sha256"]
    return shown


def _check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes in their own order. Raises Invalid for one that does not exist."""
    if not set(scopes) <= {*SCOPES, ALL_SCOPES}:
        raise Invalid(f"a scope is unknown: use {', '.join(SCOPES)}, or {ALL_SCOPES}", path="scope", reason="unknown_scope")
    return (ALL_SCOPES,) if ALL_SCOPES in scopes else tuple(scope for scope in SCOPES if scope in scopes)


def _tokens_file(file: Path | None, data_dir: Path) -> Path:
    """Return the file that was named, or that of the embedded stack in `data_dir`, whether it runs or not."""
    check_names()
    if file is None and os.environ.get("ONEFOLD_MODE") == "server":
        raise Misconfigured("name the file of tokens by --file, or by ONEFOLD_API_TOKENS_FILE as for the API")
    return file or Layout.of(data_dir).api_tokens
