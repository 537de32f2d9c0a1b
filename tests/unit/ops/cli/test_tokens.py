"""`onefold tokens` on files, without a stack."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ops.cli import tokens
from ops.cli.command_table import new_application
from runtime.api_tokens import find_token, read_tokens
from runtime.errors import OnefoldError


def run(*argv: str) -> Result:
    app = new_application()
    tokens.register(app)
    return CliRunner().invoke(app, ["tokens", *argv])


def refused(*argv: str) -> str:
    error = run(*argv).exception
    assert isinstance(error, OnefoldError)
    return str(error)


@pytest.fixture(autouse=True)
def _without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEFOLD_MODE", "ONEFOLD_API_TOKENS_FILE", "ONEFOLD_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_printed_once_and_works_until_it_is_revoked(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    at = ("--file", str(file))
    token = run("add", "crm", "--scope", "identity:write", "--scope", "profiles:read", *at).stdout.strip()
    found = find_token(read_tokens(file), token)
    assert found is not None
    assert found.scopes == ("profiles:read", "identity:write")
    listed = run("list", *at).stdout
    assert "crm  profiles:read, identity:write" in listed
    assert "valid until it is revoked" in listed
    assert token not in listed
    assert found.sha256 not in run("list", "--json", *at).stdout
    run("revoke", "crm", *at)
    assert find_token(read_tokens(file), token) is None
    assert "refuses everybody" in run("list", *at).stdout


def test_a_token_may_end_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    run("add", "crm", "--scope", "all", "--days", "90", "--file", str(file))
    (shown,) = json.loads(run("list", "--json", "--file", str(file)).stdout)
    (stored,) = read_tokens(file)
    assert stored.expires_at is not None
    assert (stored.expires_at - stored.created_at).days == 90
    assert set(shown) == {"name", "scopes", "created_at", "expires_at"}
    assert "valid until" in run("list", "--file", str(file)).stdout


def test_the_file_of_a_stack_is_found_by_its_directory(tmp_path: Path) -> None:
    run("add", "crm", "--scope", "all", "--data-dir", str(tmp_path))
    assert [token.name for token in read_tokens(tmp_path / "run" / "api-tokens.json")] == ["crm"]


def test_a_server_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_MODE", "server")
    assert "ONEFOLD_API_TOKENS_FILE" in refused("list")
    monkeypatch.setenv("ONEFOLD_API_TOKENS_FILE", str(tmp_path / "tokens.json"))
    assert "there are no tokens" in run("list").stdout


@pytest.mark.parametrize(
    ("argv", "cure"),
    [
        (("add", "crm", "--scope", "everything"), "a scope is unknown: use profiles:read"),
        (("add", "Người Dùng", "--scope", "all"), "a name is lower-case letters"),
        (("add", "", "--scope", "all"), "a name is lower-case letters"),
        (("revoke", "nobody"), "onefold tokens list"),
    ],
)
def test_a_mistake_is_told_with_the_cure(argv: tuple[str, ...], cure: str, tmp_path: Path) -> None:
    assert cure in refused(*argv, "--file", str(tmp_path / "tokens.json"))
    assert not (tmp_path / "tokens.json").exists()


def test_a_token_without_a_scope_is_a_wrong_call(tmp_path: Path) -> None:
    assert run("add", "crm", "--file", str(tmp_path / "tokens.json")).exit_code == 2
