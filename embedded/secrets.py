"""The secrets of one data directory: random, made once, readable by their owner alone."""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from embedded.layout import Layout
from runtime.api_tokens import ALL_SCOPES, ApiToken, add_token, find_token, make_token, read_tokens, token_hash
from runtime.errors import Misconfigured
from runtime.private_files import write_private

APP_USER, ANALYST_USER = "onefold", "analyst"
FIRST_NAME = "operator"
"""The name of the API token that the stack makes at its first start."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Random texts, each of its own.

    `write_key` is the collector's key of the public source `default`, `server_write_key` that of the trusted source `server`; the
    others are passwords of the stores' users. `api_token` is the API's first token, which may have been revoked since.
    """

    tenant_secret: str
    api_token: str
    write_key: str
    server_write_key: str
    clickhouse_app: str
    clickhouse_analyst: str
    kafka_password: str
    redis_password: str

    def __repr__(self) -> str:
        return "Secrets(…)"

    def clickhouse_users(self) -> str:
        """Return the users file of the ClickHouse endpoint, as JSON: password hashes and roles."""
        passwords = {APP_USER: (self.clickhouse_app, "app"), ANALYST_USER: (self.clickhouse_analyst, "analyst")}
        users = {
            name: {"password_sha256": hashlib.sha256(password.encode()).hexdigest(), "role": role}
            for name, (password, role) in passwords.items()
        }
        return json.dumps(users, indent=1)


def load_or_create(layout: Layout) -> Secrets:
    """Load the secrets of a data directory; make them when neither they nor anything that depends on them is there.

    Raises Misconfigured when the file is unusable, or missing beside stores that hold data: the tenant secret keys every stored
    hash, and a new one would orphan them all.
    """
    path = layout.secrets_file
    names = [item.name for item in fields(Secrets)]
    try:
        path.chmod(0o600)  # whatever a copy or a backup has made of it
        stored = json.loads(path.read_text())
    except FileNotFoundError:
        if layout.holds_stored_data():
            raise Misconfigured(
                f"{path} is missing, and the stores beside it were filled with its secrets: restore the file from a backup, "
                "or pass an empty --data-dir to begin anew"
            ) from None
        created = Secrets(**{name: secrets.token_urlsafe(24) for name in names} | {"api_token": make_token()})
        write_private(path, json.dumps(asdict(created), indent=1))
        return created
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"{path} cannot be read ({type(error).__name__}): restore it from a backup of the data directory"
        ) from error
    if not isinstance(stored, dict) or not all(isinstance(stored.get(name), str) and len(stored[name]) >= 16 for name in names):
        raise Misconfigured(f"{path} lacks one of {', '.join(names)}: restore it from a backup of the data directory")
    return Secrets(**{name: stored[name] for name in names})


def give_first_token(layout: Layout, secrets_of_stack: Secrets, now_ms: int) -> None:
    """Make the file of API tokens with the stack's own token, for everything, unless there is one: it may have been revoked."""
    if not layout.api_tokens.exists():
        created_at = datetime.fromtimestamp(now_ms // 1000, UTC)
        add_token(layout.api_tokens, ApiToken(FIRST_NAME, token_hash(secrets_of_stack.api_token), (ALL_SCOPES,), created_at))


def api_token_in_force(layout: Layout, secrets_of_stack: Secrets) -> str:
    """Return the stack's own API token, or "" when it was revoked."""
    return secrets_of_stack.api_token if find_token(read_tokens(layout.api_tokens), secrets_of_stack.api_token) else ""
