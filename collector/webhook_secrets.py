"""The secrets with which other systems sign their webhooks. They are read for each request, so that a rotation needs no restart."""

import os

from domain.intake.webhook_spec import AnySignature
from runtime.errors import Misconfigured
from runtime.settings import Settings


def load_secrets(spec: AnySignature, settings: Settings) -> list[str]:
    """Return the secrets that are valid now, at least one. A relative `secret_file` lies in the data directory.

    Raises Misconfigured, with the place to set the secret, when there is none.
    """
    if spec.secret_env is not None:
        text, location = os.environ.get(spec.secret_env, ""), f"{spec.secret_env} in the environment of the collector"
    else:
        path = settings.data_dir / (spec.secret_file or "")
        location = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{path} cannot be read ({type(error).__name__}): write the secret there") from error
    secrets = text.split()
    if not secrets:
        raise Misconfigured(f"{location} holds no secret: set it")
    return secrets
