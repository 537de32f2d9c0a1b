"""The tokens of the API: who may call it, for what, and until when.

A token is 256 random bits. It is printed once, when it is made; the file has its SHA-256 alone. A slow hash would protect nothing
more: what has 256 random bits cannot be guessed from its hash. The file is the only home of the tokens, because the API must know
them while Kafka, Redis and ClickHouse are away, and because whoever may write to one of those must not be able to make tokens.
`onefold tokens` replaces the file as a whole, and the API reads it again when it has changed.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import msgspec

from runtime.errors import Invalid, Misconfigured
from runtime.private_files import write_private

Scope = Literal["profiles:read", "identity:write", "quarantine:read", "quarantine:write", "deliveries:read", "deliveries:write"]
"""What a token may be used for. `write` of a subject includes its `read`."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
ALL_SCOPES: Final = "all"
"""Every scope, also those of later versions."""
TOKEN_PREFIX: Final = "onefold_"  # noqa: S105 - by which people and scanners of leaked secrets recognise a token
TOKEN_BYTES: Final = 32
MAX_TOKENS: Final = 1_000
OTHERS_MAY_WRITE: Final = 0o022


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token as the file has it. `scopes` are some of SCOPES, or ALL_SCOPES; without `expires_at` it is valid until revoked."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Literal[Scope, "all"], ...]
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def allows(self, scope: Scope) -> bool:
        """Return whether the token may be used for `scope`."""
        return ALL_SCOPES in self.scopes or scope in self.scopes or scope.replace(":read", ":write") in self.scopes

    def is_expired(self, now_ms: int) -> bool:
        """Return whether the token is no longer valid at `now_ms`."""
        return self.expires_at is not None and self.expires_at.timestamp() * 1000 <= now_ms


class _TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: Annotated[tuple[ApiToken, ...], msgspec.Meta(max_length=MAX_TOKENS)]


class TokenFile:
    """The tokens of a file that others may replace at any time: it is read again when it is another one than before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: tuple[ApiToken, ...] = ()
        self._version: tuple[int, int, int] | None = None

    def current(self) -> tuple[ApiToken, ...]:
        """Return the tokens that are in force now; none when there is no file. Raises Misconfigured when it cannot be trusted."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._tokens, self._version = (), None
            return ()
        except OSError as error:
            raise Misconfigured(f"{self._path} cannot be read ({error.strerror}): make it readable for this user") from error
        version = (status.st_ino, status.st_ctime_ns, status.st_size)  # a change of the permissions alone counts too
        if version != self._version:
            self._tokens, self._version = read_tokens(self._path), version
        return self._tokens

    async def ping(self) -> None:
        """Raise Misconfigured when the file cannot be trusted."""
        self.current()


def make_token() -> str:
    """Return a new random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> str:
    """Return the hash by which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def find_token(tokens: Sequence[ApiToken], presented: str) -> ApiToken | None:
    """Return the stored token that a client presents, valid or expired; the time that this takes says nothing about the others."""
    presented_hash, matching = token_hash(presented), None
    for token in tokens:
        if hmac.compare_digest(token.sha256, presented_hash):
            matching = token
    return matching


def read_tokens(path: Path) -> tuple[ApiToken, ...]:
    """Return the tokens of the file; none when there is no file. Raises Misconfigured when it cannot be read or trusted."""
    try:
        with path.open("rb") as file:
            status, content = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}): make it readable for this user") from error
    if status.st_mode & OTHERS_MAY_WRITE or status.st_uid not in (0, os.getuid()):
        raise Misconfigured(f"{path} could be written by others, who could give themselves tokens: chmod 600, and own it")
    try:
        return msgspec.json.decode(content, type=_TokenFile).tokens
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{path} is no file of tokens: restore it, or delete it and make new ones (`onefold tokens add`)"
        ) from error


def add_token(path: Path, token: ApiToken) -> None:
    """Add a token to the file, which is made if it is missing. Raises Invalid for a name that is taken."""
    with _locked(path):
        tokens = read_tokens(path)
        if any(existing.name == token.name for existing in tokens):
            raise Invalid(f"a token {token.name} exists: revoke it first, or choose another name", path="name", reason="name_taken")
        if len(tokens) >= MAX_TOKENS:
            raise Invalid(f"there are {MAX_TOKENS} tokens: revoke some", path="name", reason="too_many")
        _write(path, (*tokens, token))


def revoke_token(path: Path, name: str) -> None:
    """Remove a token from the file. Raises Invalid when there is none of this name."""
    with _locked(path):
        tokens = read_tokens(path)
        remaining = tuple(token for token in tokens if token.name != name)
        if len(remaining) == len(tokens):
            raise Invalid("no token has this name: see `onefold tokens list`", path="name", reason="unknown_token")
        _write(path, remaining)


def _write(path: Path, tokens: tuple[ApiToken, ...]) -> None:
    """Replace the file, with the permissions that it had: the API may run as another user, who must read it."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    write_private(path, msgspec.json.format(msgspec.json.encode(_TokenFile(tokens)), indent=1).decode() + "\n")
    path.chmod(mode)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time change the file: two commands at once would lose a token, or bring a revoked one back."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written ({error.strerror}): make its directory writable for this user") from error
