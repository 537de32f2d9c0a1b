"""Real services, started once for the whole run and only when a test asks for one."""

from collections.abc import Iterator

import pytest

from tests.support.redis_cluster import ClusterProcesses, cluster_running
from tests.support.rounds import load_hypothesis_profile
from tests.support.services import ServiceProcess, kafka_spec, redis_spec, running_service

load_hypothesis_profile()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a real Kafka broker. Shared: take topic and group names of your own."""
    spec, bootstrap = kafka_spec(tmp_path_factory.mktemp("kafka"))
    with running_service(spec):
        yield bootstrap


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Redis server. Shared: take a key prefix of your own, and never flush it."""
    spec, url = redis_spec(tmp_path_factory.mktemp("redis"))
    with running_service(spec):
        yield url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Redis Cluster of three primaries. Shared: take a key prefix of your own, and never flush it."""
    with cluster_running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    """A broker of the test's own, to stop, kill and start again, and its bootstrap address."""
    spec, bootstrap = kafka_spec(tmp_path_factory.mktemp("kafka"))
    with running_service(spec) as service:
        yield service, bootstrap


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    """A Redis server of the test's own, to stop, kill and start again, and its URL."""
    spec, url = redis_spec(tmp_path_factory.mktemp("redis"))
    with running_service(spec) as service:
        yield service, url


@pytest.fixture
def own_redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """A Redis Cluster of the test's own, whose primaries it may kill and start again."""
    with cluster_running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
