"""One engine for the tests of a module."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.clickhouse_server import clickhouse_server


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running engine with the database `onefold`; user and password are in the URL."""
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as address:
        httpx.post(address, content="CREATE DATABASE onefold ENGINE = Atomic").raise_for_status()
        yield address
