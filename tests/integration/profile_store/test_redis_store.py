"""What only the Redis driver can show: its keys, and what it says when the server fails it."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from domain.identity.model import Decision, Edge, Label, Members
from profile_store.port import GuardedDocument, TopicPartition, Writes
from profile_store.redis_store import RedisStore
from runtime.clock import SystemClock
from runtime.errors import Misconfigured, Transient
from runtime.settings import Settings
from tests.support.services import ServiceProcess

pytestmark = pytest.mark.redis

PARTITION = TopicPartition("events", 0, 1)
WRITES = Writes(
    documents={
        ("fragment", "a"): GuardedDocument(b"1", PARTITION.guard_name, 1),
        ("membership", "a"): GuardedDocument(b"2", PARTITION.guard_name, 1),
        ("link_outbox", PARTITION.guard_name): GuardedDocument(b"3", PARTITION.guard_name, 1),
    },
    labels={"a": Label("p", 1)},
    members={"p": Members(("a", "b"), 1)},
    edges={("a", "b"): Edge(1, "e", 1, "e", "web")},
    decisions={("cut", "b", "c"): Decision(on=True, at_ms=1, operation="o")},
    timers={"p": 10},
)


@pytest.fixture
def environment() -> str:
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
async def store(redis_server: str, environment: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(Settings(redis_url=redis_server, environment=environment), SystemClock())
    yield store
    await store.aclose()


@pytest.fixture
async def raw(redis_server: str) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_server, protocol=2)
    yield client
    await client.aclose()


async def test_redis_keys_match_the_document_and_only_temporary_ones_expire(
    store: RedisStore, raw: Redis, environment: str
) -> None:
    await store.save(PARTITION, None, 2, WRITES)
    await store.settle_delivery("k", 60_000)
    await store.pause_writers(True)
    names = [key async for key in raw.scan_iter(match=f"{environment}:*")]
    expiring = {key.decode().removeprefix(f"{environment}:"): await raw.pttl(key) > 0 for key in names}
    assert expiring == {
        "f:a": False, "s:a": False, "l:a": False, "m:p": False, "e:a": False, "e:b": False, "e:c": False,
        "u:events:0/1": False,        "t:events:0/1": False, "p:events:0/1": False, "d:k": True, "hold": True,
    }  # fmt: skip
    await store.pause_writers(False)


async def test_script_is_loaded_on_a_server_that_lacks_it(store: RedisStore, raw: Redis) -> None:
    for expected in (None, 1, 2):
        await raw.script_flush()
        await store.save(PARTITION, expected, (expected or 0) + 1, Writes(labels={"a": Label("p", 1)}))
    assert (await store.checkpoint(PARTITION)).position == 3


async def test_more_concurrent_calls_than_connections_are_all_answered(store: RedisStore) -> None:
    places = [TopicPartition("events", partition, 200) for partition in range(200)]
    await asyncio.gather(*(store.save(topic_partition, None, topic_partition.partition, Writes()) for topic_partition in places))
    standings = await asyncio.gather(*(store.checkpoint(topic_partition) for topic_partition in places))
    assert [checkpoint.position for checkpoint in standings] == list(range(200))


async def test_a_call_that_was_cut_off_leaves_no_answer_for_the_next_one(redis_server: str, raw: Redis, environment: str) -> None:
    store = RedisStore(Settings(redis_url=redis_server, environment=environment), SystemClock(), call_timeout_s=0.1)
    await store.save(PARTITION, None, 2, WRITES)
    await raw.client_pause(400)
    with pytest.raises(Transient, match=r"did not answer MGET within 0\.1 s"):
        await store.documents("fragment", ["a"])
    for _ in range(50):
        try:
            members = await store.members(["p"])
            break
        except Transient:
            continue
    assert members == WRITES.members
    assert await store.next_timer(PARTITION) == 10
    await store.aclose()


async def test_a_server_that_accepts_and_stays_silent_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = RedisStore(Settings(redis_url=f"redis://127.0.0.1:{port}/0"), SystemClock(), call_timeout_s=0.1)
        with pytest.raises(Transient):
            await store.ping()
        await store.aclose()


async def test_an_unreachable_server_is_transient_and_its_address_is_not_quoted() -> None:
    store = RedisStore(Settings(redis_url="redis://:hush@127.0.0.1:1/0"), SystemClock())
    with pytest.raises(Transient) as caught:
        await store.ping()
    assert isinstance(caught.value.__cause__, Exception)
    assert "hush" not in str(caught.value)
    await store.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "127.0.0.1:6379", "redis://127.0.0.1:port"])
def test_an_invalid_address_names_the_setting_and_not_its_value(url: str) -> None:
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_URL") as caught:
        RedisStore(Settings(redis_url=url), SystemClock())
    assert url not in str(caught.value)


async def test_refused_credentials_name_the_setting(redis_server: str) -> None:
    address = urlsplit(redis_server)
    store = RedisStore(Settings(redis_url=f"redis://nobody:wrong@{address.hostname}:{address.port}/0"), SystemClock())
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_URL"):
        await store.ping()
    await store.aclose()


async def test_a_restarted_server_is_used_again_and_has_every_acknowledged_write(
    own_redis: tuple[ServiceProcess, str],
) -> None:
    service, url = own_redis
    store = RedisStore(Settings(redis_url=url), SystemClock())
    await store.save(PARTITION, None, 2, WRITES)
    service.kill()
    with pytest.raises(Transient):
        await store.checkpoint(PARTITION)
    service.start()
    assert (await store.checkpoint(PARTITION)).position == 2
    assert await store.save(PARTITION, 2, 2, WRITES) == set(WRITES.documents)
    await store.aclose()
