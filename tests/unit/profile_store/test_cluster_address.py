"""Addresses of Redis Clusters."""

import pytest

from profile_store.cluster_address import parse_cluster_url
from profile_store.cluster_store import ClusterStore
from profile_store.connect import open_store
from profile_store.redis_store import RedisStore
from runtime.clock import ManualClock
from runtime.settings import Settings


def test_nodes_are_read_with_their_ports_and_the_usual_one() -> None:
    nodes, options = parse_cluster_url("redis+cluster://một.vn:7001,10.0.0.2,[::1]:7003")
    assert nodes == [("một.vn", 7001), ("10.0.0.2", 6379), ("::1", 7003)]
    assert options == {}


def test_credentials_and_options_are_those_of_every_node() -> None:
    _, options = parse_cluster_url(
        "rediss+cluster://anh:m%40t%2Fkh%E1%BA%A9u@h1:1,h2:2/0?ssl_ca_certs=/etc/ca.pem&health_check_interval=7"
    )
    assert options == {
        "username": "anh", "password": "m@t/khẩu", "db": 0, "ssl": True, "ssl_ca_certs": "/etc/ca.pem", "health_check_interval": 7
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["redis://h:1", "redis+cluster://", "redis+cluster://h:1,,h:2", "redis+cluster://h:x", "redis+cluster://h:1/3", "h:1,h:2", ""],
)
def test_what_is_no_address_of_a_cluster_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_cluster_url(url)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("redis://h:1/0", RedisStore),
        ("unix:///run/redis.sock?db=0", RedisStore),
        ("redis+cluster://h:1,h:2", ClusterStore),
        ("rediss+cluster://:secret@h:1?ssl_check_hostname=False", ClusterStore),
    ],
)
def test_the_scheme_chooses_the_driver(url: str, driver: type) -> None:
    assert type(open_store(Settings(redis_url=url), ManualClock())) is driver
