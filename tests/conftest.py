"""Real services, started once in each worker of pytest and only when a test asks for one; and which tests run beside which."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any, Final

import pytest
from pydantic import SecretStr
from xdist.scheduler import LoadFileScheduling

from runtime.settings import Settings
from tests.support.clickhouse_server import clickhouse_server
from tests.support.redis_cluster import ClusterProcesses, cluster_running
from tests.support.rounds import load_hypothesis_profile
from tests.support.services import ServiceProcess, kafka_spec, redis_spec, running_service
from warehouse.client import Warehouse
from warehouse.migrate import migrate

load_hypothesis_profile()

WHOLE_STACKS: Final = ("tests/e2e/", "tests/integration/streams/", "tests/chaos/")
"""Tests that start whole stacks, and tests that kill workers. Each kind runs one after another, in one worker of pytest."""
_DATABASES = count()


class WholeStacksTogether(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Give each file to one worker as a whole, and all tests of a folder of WHOLE_STACKS to the same one.

    So the tests that mostly wait for processes run one after another in two workers, while the third uses the cores. The
    groups of xdist itself (`--dist loadgroup`) have no effect with this version of pytest, which ignores the suffix that they add
    to the id of a test.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in WHOLE_STACKS if nodeid.startswith(folder)), None) or super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeStacksTogether:
    """Return the scheduler of all runs with several workers."""
    return WholeStacksTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the whole stacks first and the laws next, since their files take longest and no worker shall end with one of them alone.

    Among the whole stacks the tests that share one come after those that start their own, so that no two stacks run at a time.
    """

    def rank(item: pytest.Item) -> tuple[bool, bool, bool, bool]:
        starts_stack, is_e2e = item.nodeid.startswith(WHOLE_STACKS), item.nodeid.startswith("tests/e2e/")
        shares_stack = "onefold" in getattr(item, "fixturenames", ())
        return not starts_stack, not is_e2e, shares_stack, not item.nodeid.startswith("tests/property/")

    items.sort(key=rank)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the bootstrap address of a real Kafka broker.

    All tests share it, so a test uses its own names of topics and groups.
    """
    spec, bootstrap = kafka_spec(tmp_path_factory.mktemp("kafka"))
    with running_service(spec):
        yield bootstrap


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a real Redis server.

    All tests share it, so a test uses its own key prefix and never flushes the server.
    """
    spec, url = redis_spec(tmp_path_factory.mktemp("redis"))
    with running_service(spec):
        yield url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a real Redis Cluster of three primaries.

    All tests share it, so a test uses its own key prefix and never flushes the cluster.
    """
    with cluster_running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    """Start a broker for this test alone, which it may stop, kill and start again; yield it with its bootstrap address."""
    spec, bootstrap = kafka_spec(tmp_path_factory.mktemp("kafka"))
    with running_service(spec) as service:
        yield service, bootstrap


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    """Start a Redis server for this test alone, which it may stop, kill and start again; yield it with its URL."""
    spec, url = redis_spec(tmp_path_factory.mktemp("redis"))
    with running_service(spec) as service:
        yield service, url


@pytest.fixture
def own_redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """Start a Redis Cluster for this test alone, whose primaries the test may kill and start again."""
    with cluster_running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a real ClickHouse engine.

    All tests share it, so a test uses its own database (`clickhouse_settings`).
    """
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture
def clickhouse_settings(clickhouse_url: str) -> Settings:
    """Return settings with a database that no other test uses."""
    return Settings(clickhouse_url=SecretStr(clickhouse_url), clickhouse_database=f"test_{next(_DATABASES)}", consumer_batch_ms=10)


@pytest.fixture
async def warehouse(clickhouse_settings: Settings) -> AsyncIterator[Warehouse]:
    """Yield a connection to the migrated database."""
    await migrate(clickhouse_settings)
    connected = await Warehouse.connect(clickhouse_settings)
    yield connected
    await connected.aclose()
