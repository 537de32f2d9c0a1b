"""Where a destination's secret comes from: an environment variable or a file, never the definition itself."""

from collections.abc import Mapping
from pathlib import Path

from domain.definitions.kinds import Destination
from runtime.errors import Misconfigured


def load_secret(definition: Destination, environ: Mapping[str, str], data_dir: Path) -> str:
    """Return the secret; a relative `secret_file` is read from the data directory. Raises Misconfigured that names the cure."""
    spec, name = definition.spec, definition.metadata.name
    if spec.secret_env is not None:
        if secret := environ.get(spec.secret_env, "").strip():
            return secret
        raise Misconfigured(f"destination {name}: {spec.secret_env} is not set in the environment of activation")
    if spec.secret_file is None:
        raise Misconfigured(f"destination {name}: name secret_env or secret_file")
    path = data_dir / spec.secret_file
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"destination {name}: {path} cannot be read ({type(error).__name__}): write the secret there"
        ) from error
