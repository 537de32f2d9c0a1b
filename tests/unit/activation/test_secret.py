from pathlib import Path

import pytest

from activation.secret import load_secret
from runtime.errors import Misconfigured
from tests.support.transitions import destination


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    assert load_secret(destination(), {"HOOK_SECRET": "whsec_x"}, tmp_path) == "whsec_x"


def test_a_relative_file_is_one_of_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "hook.secret").write_text("whsec_y\n")
    assert load_secret(destination(secret_env=None, secret_file="hook.secret"), {}, tmp_path) == "whsec_y"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="HOOK_SECRET"):
        load_secret(destination(), {}, tmp_path)
    with pytest.raises(Misconfigured, match=r"nowhere\.secret"):
        load_secret(destination(secret_env=None, secret_file="nowhere.secret"), {}, tmp_path)
    with pytest.raises(Misconfigured, match="secret_env or secret_file"):
        load_secret(destination(secret_env=None), {}, tmp_path)
