"""The database of places, read from a real file."""

from pathlib import Path

import pytest

from runtime.errors import Misconfigured
from runtime.geoip import open_locator
from tests.support.geoip_file import HANOI, geoip_file


def test_addresses_of_both_versions_are_looked_up(tmp_path: Path) -> None:
    locate = open_locator(geoip_file(tmp_path))
    assert locate is not None
    assert locate("203.0.113.9") == locate("2001:db8::1") == HANOI
    assert locate("192.0.2.1") is None


@pytest.mark.parametrize("text", ["", "unknown", "203.0.113.9, 10.0.0.1", "203.0.113.999", "1" * 10_000])
def test_invalid_ip_address_is_not_located(tmp_path: Path, text: str) -> None:
    locate = open_locator(geoip_file(tmp_path))
    assert locate is not None
    assert locate(text) is None


def test_without_a_file_nothing_is_located() -> None:
    assert open_locator(None) is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.mmdb"
    wrong.write_bytes(b"nonsense")
    for path in (wrong, tmp_path / "missing.mmdb"):
        with pytest.raises(Misconfigured, match="ONEFOLD_GEOIP_FILE"):
            open_locator(path)
