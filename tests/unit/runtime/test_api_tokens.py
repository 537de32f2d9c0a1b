"""The file of the API's tokens: what it holds, who may write it, and how it changes while the API runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.api_tokens import TOKEN_PREFIX, TokenFile, add_token, find_token, make_token, read_tokens, revoke_token, token_hash
from runtime.errors import Invalid, Misconfigured
from tests.support.api_tokens import api_token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "api-tokens.json"


def test_a_token_has_256_random_bits_and_only_its_hash_is_stored(path: Path) -> None:
    token = make_token()
    assert make_token() != token
    assert len(token.removeprefix(TOKEN_PREFIX)) == 43  # 32 bytes in base64
    add_token(path, api_token(token, name="crm"))
    content = path.read_text()
    assert token not in content
    assert token.removeprefix(TOKEN_PREFIX) not in content
    assert token_hash(token) in content
    assert path.stat().st_mode & 0o777 == 0o600


def test_tokens_are_found_by_themselves_alone(path: Path) -> None:
    for name in ("crm", "quay"):
        add_token(path, api_token(f"token-of-{name}", name=name))
    tokens = read_tokens(path)
    found = find_token(tokens, "token-of-quay")
    assert found is not None
    assert found.name == "quay"
    assert find_token(tokens, tokens[0].sha256) is None
    assert find_token(tokens, "") is None
    assert find_token((), "token-of-crm") is None


def test_a_name_is_given_once_and_again_after_it_was_revoked(path: Path) -> None:
    add_token(path, api_token("first", name="crm"))
    with pytest.raises(Invalid, match="a token crm exists"):
        add_token(path, api_token("second", name="crm"))
    revoke_token(path, "crm")
    with pytest.raises(Invalid, match="no token has this name"):
        revoke_token(path, "crm")
    add_token(path, api_token("second", name="crm"))
    assert find_token(read_tokens(path), "first") is None
    assert find_token(read_tokens(path), "second") is not None


def test_a_running_api_sees_what_was_added_and_revoked(path: Path) -> None:
    file = TokenFile(path)
    assert file.current() == ()
    add_token(path, api_token("first", name="crm"))
    assert [token.name for token in file.current()] == ["crm"]
    assert file.current() is file.current()
    add_token(path, api_token("second", name="quay"))
    assert [token.name for token in file.current()] == ["crm", "quay"]
    revoke_token(path, "crm")
    assert [token.name for token in file.current()] == ["quay"]
    path.unlink()
    assert file.current() == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"tokens": [{"name": "crm"}]}',
        '{"tokens": [{"name": "crm", "sha256": "xx", "scopes": ["all"], "created_at": "2025-06-15T00:00:00Z"}]}',
        '{"tokens": [{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": ["most"], "created_at": "2025-06-15T00:00:00Z"}]}',
        '{"tokens": [], "bí mật": 1}',
    ],
)
def test_a_damaged_file_is_no_token_for_anybody_and_is_not_replaced(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    file = TokenFile(path)
    for attempt in (file.current, file.current, lambda: add_token(path, api_token(name="crm")), lambda: revoke_token(path, "crm")):
        with pytest.raises(Misconfigured, match="is no file of tokens: restore it") as raised:
            attempt()
        assert "bí mật" not in str(raised.value)
    assert path.read_text() == content


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_trusted(path: Path, mode: int) -> None:
    add_token(path, api_token(name="crm"))
    running = TokenFile(path)
    assert len(running.current()) == 1
    path.chmod(mode)
    for file in (TokenFile(path), running):
        with pytest.raises(Misconfigured, match="could be written by others"):
            file.current()
    path.chmod(0o644)
    assert len(TokenFile(path).current()) == 1


def test_a_change_leaves_the_permissions_of_the_file(path: Path) -> None:
    add_token(path, api_token(name="crm"))
    path.chmod(0o444)
    add_token(path, api_token(name="quay"))
    assert path.stat().st_mode & 0o777 == 0o444
    revoke_token(path, "crm")
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_directory_that_is_no_directory_is_one_line_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=r"api-tokens\.json cannot be written"):
        add_token(tmp_path / "file" / "api-tokens.json", api_token(name="crm"))


def test_commands_at_the_same_time_lose_no_token(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from runtime.api_tokens import add_token\n"
        "from tests.support.api_tokens import api_token\n"
        "for n in range(5): add_token(Path(sys.argv[1]), api_token(f'{sys.argv[2]}-{n}', name=f'{sys.argv[2]}-{n}'))"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name], env=environ) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(read_tokens(path)) == 15
