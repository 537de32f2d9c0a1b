"""The users file: name → password hash and role."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from embedded.clickhouse.limits import UserRole
from runtime.errors import Misconfigured
from runtime.validation_words import describe_error


class EngineUser(BaseModel):
    """A user: `app` reads and writes, `analyst` reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    password_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    role: UserRole


_UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_USERS = TypeAdapter(dict[_UserName, EngineUser])


def load_users(path: Path | None) -> dict[str, EngineUser]:
    """Load the users file.

    Raises:
        Misconfigured: when there is no file, it cannot be read, or names nobody.
    """
    if path is None:
        raise Misconfigured("no users: pass --users-file FILE with {name: {password_sha256, role}}; nobody is let in without one")
    try:
        users = _USERS.validate_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"--users-file {path}: {error.strerror or 'cannot be read'}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"--users-file {path}: {location or 'document'}: {describe_error(first)}") from error
    if not users:
        raise Misconfigured(f"--users-file {path}: names nobody")
    return users
