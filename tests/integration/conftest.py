"""One ClickHouse for the whole run, started only when a test asks for it; each test takes a database of its own."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from pydantic import SecretStr

from runtime.settings import Settings
from tests.support.clickhouse_server import clickhouse_server
from warehouse.client import Warehouse
from warehouse.migrate import migrate

_NUMBERS = count()


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real ClickHouse engine."""
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture
def clickhouse_settings(clickhouse_url: str) -> Settings:
    """Settings with a database that no other test has."""
    return Settings(clickhouse_url=SecretStr(clickhouse_url), clickhouse_database=f"test_{next(_NUMBERS)}", consumer_batch_ms=10)


@pytest.fixture
async def warehouse(clickhouse_settings: Settings) -> AsyncIterator[Warehouse]:
    """A connection to the migrated database."""
    await migrate(clickhouse_settings)
    connected = await Warehouse.connect(clickhouse_settings)
    yield connected
    await connected.aclose()
