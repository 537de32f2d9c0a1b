"""The shared engine, with an empty database `onefold` for the tests of each module."""

from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture(scope="module")
def url(clickhouse_url: str) -> Iterator[str]:
    """Yield the engine's URL with user and password; the database `onefold` is dropped after the module."""
    httpx.post(clickhouse_url, content="CREATE DATABASE onefold ENGINE = Atomic").raise_for_status()
    yield clickhouse_url
    httpx.post(clickhouse_url, content="DROP DATABASE onefold SYNC").raise_for_status()
