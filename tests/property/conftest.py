"""A ClickHouse for those laws that speak of it, started only when one asks; each worker of pytest has its own."""

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
async def warehouse(clickhouse_url: str) -> AsyncIterator[Warehouse]:
    """A connection to a migrated database that no other test has."""
    settings = Settings(clickhouse_url=SecretStr(clickhouse_url), clickhouse_database=f"law_{next(_NUMBERS)}")
    await migrate(settings)
    connected = await Warehouse.connect(settings)
    yield connected
    await connected.aclose()
