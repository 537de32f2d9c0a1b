import os
import re
import subprocess
import sys

import pytest

from runtime.errors import Misconfigured
from runtime.settings import DEFAULT_SECRET, Settings


@pytest.mark.parametrize("secret", [None, DEFAULT_SECRET, "fifteen letters"])
def test_a_server_hashes_nothing_with_a_secret_that_others_know(secret: str | None) -> None:
    given = {} if secret is None else {"tenant_secret": secret}
    with pytest.raises(Misconfigured, match="ONEFOLD_TENANT_SECRET is unset, the default or shorter than 16 characters"):
        _ = Settings.model_validate({"mode": "server", **given}).tenant_key


def test_the_tenant_secret_is_the_key_of_hashes() -> None:
    assert (
        Settings.model_validate({"mode": "server", "tenant_secret": "mười sáu chữ cái"}).tenant_key == "mười sáu chữ cái".encode()
    )
    assert Settings().tenant_key == DEFAULT_SECRET.encode()


@pytest.mark.parametrize("role", ["collector", "streams", "api"])
def test_processes_that_hash_do_not_start_without_a_secret_of_their_own(role: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEFOLD_")}
    variables = {"ONEFOLD_MODE": "server", "ONEFOLD_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    argv = [sys.executable, "-P", "-m", role]
    done = subprocess.run(argv, env=environment | variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "ONEFOLD_TENANT_SECRET is unset" in done.stdout + done.stderr


def test_a_fingerprint_tells_secrets_apart_and_shows_none() -> None:
    fingerprints = {Settings(tenant_secret=secret).secret_fingerprint for secret in ("mười sáu chữ cái", "mười bảy chữ cái")}
    assert len(fingerprints) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in fingerprints)
    assert Settings.model_validate({"mode": "server"}).secret_fingerprint == ""
