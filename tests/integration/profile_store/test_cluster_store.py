"""What only a cluster can show: crashes between the steps of a save, late zombies, slots that move, primaries that fail."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis, RedisCluster

from domain.identity.model import Decision, Edge, Label, Members, Neighbours
from profile_store.cluster_client import SlotCall
from profile_store.connect import open_store
from profile_store.keys import KIND_LETTERS, Keys
from profile_store.port import Checkpoint, DocumentKind, GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.clock import ManualClock
from runtime.errors import Misconfigured, StateLost, Transient
from runtime.settings import Settings
from tests.support.crashing_store import CrashingStore, SimulatedCrash
from tests.support.redis_cluster import ClusterProcesses

pytestmark = pytest.mark.redis

PARTITION = TopicPartition("events", 0, 1)
EDGE, CUT = Edge(1, "e", 1, "e", "cửa hàng"), Decision(on=True, at_ms=1, operation="cắt")
WRITES = Writes(
    documents={
        ("fragment", "a"): GuardedDocument(b"\x001", PARTITION.guard_name, 1),
        ("fragment", "b"): GuardedDocument(None, PARTITION.guard_name, 1),
        ("membership", "a"): GuardedDocument(b"2", PARTITION.guard_name, 1),
        ("link_outbox", PARTITION.guard_name): GuardedDocument(b"3", PARTITION.guard_name, 1),
    },
    labels={"a": Label("p", 1), "b": Label("p", 1)},
    members={"p": Members(("a", "b"), 1, cause="sự kiện"), "b": Members((), 1, merged_into="p")},
    edges={("a", "b"): EDGE},
    decisions={("cut", "a", "c"): CUT},
    timers={"p": 10, "q": None},
)
KEYS = 4 + 4 + 3


def dying(url: str, environment: str, call_timeout_s: float = 5) -> CrashingStore:
    return CrashingStore(Settings(redis_url=url, environment=environment), ManualClock(), call_timeout_s=call_timeout_s)


@asynccontextmanager
async def two_of(url: str) -> AsyncIterator[tuple[CrashingStore, CrashingStore]]:
    """Yield two stores on one environment, as two processes would have them."""
    environment = f"t{uuid.uuid4().hex[:16]}"
    stores = dying(url, environment), dying(url, environment)
    try:
        yield stores
        await stores[1].wipe(KIND_LETTERS)
    finally:
        for store in stores:
            await store.aclose()


@pytest.fixture
async def two_stores(redis_cluster: str) -> AsyncIterator[tuple[CrashingStore, CrashingStore]]:
    async with two_of(redis_cluster) as stores:
        yield stores


async def everything(store: ProfileStore) -> dict[str, object]:
    """Return all that WRITES touches, without the checkpoint."""
    return {
        "fragments": await store.documents("fragment", ["a", "b"]),
        "memberships": await store.documents("membership", ["a"]),
        "link_outbox": await store.documents("link_outbox", [PARTITION.guard_name]),
        "labels": await store.labels(["a", "b"]),
        "members": await store.members(["p", "b"]),
        "ties": await store.neighbours(["a", "b", "c"]),
        "timers": await store.due_timers(PARTITION, 1000, 10),
    }


WRITTEN = {
    "fragments": {name: WRITES.documents["fragment", name] for name in ("a", "b")},
    "memberships": {"a": WRITES.documents["membership", "a"]},
    "link_outbox": {PARTITION.guard_name: WRITES.documents["link_outbox", PARTITION.guard_name]},
    "labels": WRITES.labels,
    "members": WRITES.members,
    "ties": {
        "a": Neighbours({"b": EDGE}, {("cut", "c"): CUT}),
        "b": Neighbours({"a": EDGE}),
        "c": Neighbours({}, {("cut", "a"): CUT}),
    },
    "timers": [("p", 10)],
}


async def dies(store: CrashingStore, lives: int, expected: int | None, position: int, writes: Writes) -> None:
    store.writes_before_crash = lives
    with pytest.raises(SimulatedCrash):
        await store.save(PARTITION, expected, position, writes)


@pytest.mark.parametrize("lives", range(KEYS + 1))
async def test_interrupted_save_is_completed_by_the_next_load(two_stores: tuple[CrashingStore, CrashingStore], lives: int) -> None:
    first, second = two_stores
    await dies(first, lives, None, 2, WRITES)
    checkpoint, documents, labels = await second.load(PARTITION, "fragment", ["a", "b"], ["a", "b"])
    assert checkpoint == Checkpoint(position=2, paused=False)
    assert documents == WRITTEN["fragments"]
    assert labels == WRITTEN["labels"]
    assert await everything(second) == WRITTEN


async def test_checkpoint_and_save_complete_an_interrupted_save(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await dies(first, 3, None, 2, WRITES)
    assert (await second.checkpoint(PARTITION)).position == 2
    assert await everything(second) == WRITTEN
    await dies(first, 0, 2, 3, Writes(labels={"a": Label("q", 2)}))
    with pytest.raises(StateLost):
        await second.save(PARTITION, 2, 4, Writes(labels={"a": Label("r", 3)}))
    assert await second.labels(["a"]) == {"a": Label("q", 2)}
    assert (await second.checkpoint(PARTITION)).position == 3


async def test_a_save_interrupted_by_a_crash_is_completed_by_the_next_worker(
    two_stores: tuple[CrashingStore, CrashingStore],
) -> None:
    first, second = two_stores
    await dies(first, 2, None, 2, WRITES)
    second.writes_before_crash = 5
    with pytest.raises(SimulatedCrash):
        await second.checkpoint(PARTITION)
    assert (await first.checkpoint(PARTITION)).position == 2
    assert await everything(first) == WRITTEN


async def test_a_zombie_that_writes_late_changes_nothing_that_is_newer(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await dies(first, 2, None, 2, WRITES)
    await second.checkpoint(PARTITION)
    newer = Writes(
        documents={("fragment", "a"): GuardedDocument(b"newer", PARTITION.guard_name, 2)},
        labels={"a": Label("a", 3)},
        members={"p": Members(("b",), 3)},
        edges={("a", "b"): replace(EDGE, last_ms=9)},
        decisions={("cut", "a", "c"): replace(CUT, on=False, at_ms=5)},
        timers={"p": 500},
    )
    assert await second.save(PARTITION, 2, 3, newer) == frozenset()
    then = await everything(second)
    assert ("fragment", "a") in await first.resume_late()
    assert await everything(second) == then
    assert (await second.labels(["a"]))["a"] == Label("a", 3)
    assert (await second.neighbours(["c"]))["c"] == Neighbours({}, {("cut", "a"): replace(CUT, on=False, at_ms=5)})
    assert (await second.checkpoint(PARTITION)).position == 3


async def test_a_zombie_is_overtaken_at_the_same_position_too(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await second.save(PARTITION, None, 5, Writes())
    await dies(first, 0, 5, 5, Writes(labels={"a": Label("old", 1)}, timers={"p": 1}))
    await second.checkpoint(PARTITION)
    await second.save(PARTITION, 5, 5, Writes(labels={"a": Label("new", 2)}, timers={"p": 2}))
    await first.resume_late()
    assert await second.labels(["a"]) == {"a": Label("new", 2)}
    assert await second.next_timer(PARTITION) == 2


async def test_save_accepts_documents_completed_by_another_worker(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await dies(first, 1, None, 2, WRITES)
    await second.checkpoint(PARTITION)
    assert await first.resume_late() == []


async def test_concurrent_completion_of_one_entry_applies_it_once(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await dies(first, 4, None, 2, WRITES)
    checkpoints = await asyncio.gather(*(store.checkpoint(PARTITION) for store in (first, second) for _ in range(5)))
    assert {checkpoint.position for checkpoint in checkpoints} == {2}
    assert await everything(second) == WRITTEN


async def test_a_refused_document_is_named_and_the_rest_is_written(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, _ = two_stores
    await first.save(PARTITION, None, 9, Writes(documents={("fragment", "a"): GuardedDocument(b"9", PARTITION.guard_name, 8)}))
    assert await first.save(PARTITION, 9, 9, WRITES) == {("fragment", "a")}
    assert await everything(first) == {
        **WRITTEN, "fragments": {"a": GuardedDocument(b"9", PARTITION.guard_name, 8), "b": WRITES.documents["fragment", "b"]}
    }  # fmt: skip


async def test_values_that_other_places_wrote_are_overwritten(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    after = replace(PARTITION, partition_count=8)
    for number in range(20):
        store, topic_partition = (first, PARTITION) if number % 2 else (second, after)
        position = (await store.checkpoint(topic_partition)).position
        await store.save(topic_partition, position, number, Writes(labels={"a": Label(f"p{number}", number)}))
        assert await store.labels(["a"]) == {"a": Label(f"p{number}", number)}


async def test_after_a_wipe_of_positions_newer_values_are_taken(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    first, second = two_stores
    await dies(first, 3, None, 7, WRITES)
    await second.wipe(["position"])
    assert (await second.checkpoint(PARTITION)).position is None
    await second.save(PARTITION, None, 0, replace(WRITES, documents={}))
    assert await second.labels(["a", "b"]) == WRITES.labels
    await first.resume_late()
    assert (await second.checkpoint(PARTITION)).position == 0


async def test_documents_are_never_older_than_the_position_they_are_loaded_with(
    two_stores: tuple[CrashingStore, CrashingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = two_stores
    await writer.save(PARTITION, None, 1, Writes(documents={("fragment", "a"): GuardedDocument(b"", PARTITION.guard_name, 0)}))
    run, moves = reader._link.run, iter([1])

    async def position_last(calls: Sequence[SlotCall]) -> list[Any]:
        """Run the calls as if the primary of the position answered later than the others."""
        actual = await run(calls[3:])
        for position in moves:
            documents: dict[tuple[DocumentKind, str], GuardedDocument] = {
                ("fragment", "a"): GuardedDocument(b"", PARTITION.guard_name, position)
            }
            await writer.save(PARTITION, position, position + 1, Writes(documents=documents))
        return [*await run(calls[:3]), *actual]

    monkeypatch.setattr(reader._link, "run", position_last)
    checkpoint, documents, _ = await reader.load(PARTITION, "fragment", ["a"])
    assert checkpoint.position == 2
    assert documents["a"].offset == 1


async def test_write_ahead_entry_of_another_version_is_left_alone(
    redis_cluster: str, two_stores: tuple[CrashingStore, CrashingStore]
) -> None:
    store, _ = two_stores
    key = Keys(store.environment, tagged=True).of("ahead", PARTITION.guard_name)
    async with RedisCluster.from_url(redis_cluster.replace("+cluster", "").partition(",")[0], protocol=2) as client:
        await client.set(key, b"1700000000000 " + msgspec.msgpack.encode([2, {"unknown": 1}]))
        with pytest.raises(Transient, match="another version"):
            await store.checkpoint(PARTITION)
        assert await client.exists(key)


async def test_keys_of_a_topic_partition_share_a_hash_tag(redis_cluster: str) -> None:
    environment = f"t{uuid.uuid4().hex[:16]}"
    store = dying(redis_cluster, environment)
    await store.save(PARTITION, None, 2, WRITES)
    await store.settle_delivery("k", 60_000)
    await store.pause_writers(True)
    await dies(store, 0, 2, 3, Writes(labels={"a": Label("p", 2)}))
    assert await keys_of(redis_cluster, environment) == {
        "f:a", "f:b", "s:a", "u:events:0/1", "l:a", "l:b", "m:p", "m:b", "e:a", "e:b", "e:c",
        "t:{events:0/1}", "p:{events:0/1}", "w:{events:0/1}", "d:k", "hold",
    }  # fmt: skip
    await store.pause_writers(False)
    await store.checkpoint(PARTITION)
    await store.wipe(KIND_LETTERS)
    assert await keys_of(redis_cluster, environment) == {"d:k"}
    await store.aclose()


async def keys_of(url: str, environment: str) -> set[str]:
    actual: set[str] = set()
    for address in url.removeprefix("redis+cluster://").split(","):
        client: Redis = Redis.from_url(f"redis://{address}", protocol=2)
        actual |= {key.decode().removeprefix(f"{environment}:") async for key in client.scan_iter(match=f"{environment}:*")}
        await client.aclose()
    return actual


async def test_scripts_are_loaded_on_primaries_that_lack_them(
    redis_cluster: str, two_stores: tuple[CrashingStore, CrashingStore]
) -> None:
    store, _ = two_stores
    for address in redis_cluster.removeprefix("redis+cluster://").split(","):
        client: Redis = Redis.from_url(f"redis://{address}", protocol=2)
        await client.script_flush()
        await client.aclose()
    await store.save(PARTITION, None, 2, WRITES)
    assert await everything(store) == WRITTEN


async def test_more_concurrent_calls_than_connections_are_all_answered(two_stores: tuple[CrashingStore, CrashingStore]) -> None:
    store, _ = two_stores
    partitions = [TopicPartition("events", partition, 200) for partition in range(200)]
    await asyncio.gather(*(store.save(topic_partition, None, topic_partition.partition, WRITES) for topic_partition in partitions))
    checkpoints = await asyncio.gather(*(store.checkpoint(topic_partition) for topic_partition in partitions))
    assert [checkpoint.position for checkpoint in checkpoints] == list(range(200))


async def test_slots_that_move_are_followed(own_redis_cluster: ClusterProcesses) -> None:
    async with two_of(own_redis_cluster.url) as (store, other):
        await store.save(PARTITION, None, 2, WRITES)
        await other.checkpoint(PARTITION)
        keys = Keys(store.environment, tagged=True)
        moved = own_redis_cluster.begin_slot_move(
            keys.of("label", "a"), keys.of("edges", "a"), keys.of("position", PARTITION.guard_name)
        )
        for each in (store, other):
            assert await everything(each) == WRITTEN  # some keys are here, some there
            assert (await each.checkpoint(PARTITION)).position == 2
        saving = asyncio.create_task(store.save(PARTITION, 2, 3, replace(WRITES, documents={}, timers={"p": 11})))
        await asyncio.to_thread(own_redis_cluster.finish_slot_move, moved)
        assert await saving == frozenset()
        for each in (store, other):
            assert await everything(each) == {**WRITTEN, "timers": [("p", 11)]}
            assert (await each.checkpoint(PARTITION)).position == 3
        assert await other.save(PARTITION, 3, 4, WRITES) == set(WRITES.documents)


async def test_a_restarted_primary_is_used_again_and_has_every_saved_document(own_redis_cluster: ClusterProcesses) -> None:
    async with two_of(own_redis_cluster.url) as (store, other):
        await store.save(PARTITION, None, 2, WRITES)
        await other.ping()
        own_redis_cluster.nodes[1].kill()
        with pytest.raises(Transient):
            await other.ping()
        many = {f"{number}": Label("p", 1) for number in range(60)}
        with pytest.raises(Transient):
            await store.save(PARTITION, 2, 3, Writes(labels=many, timers={"p": 11}))
        own_redis_cluster.nodes[1].start()
        own_redis_cluster.wait_until_whole()
        position = (await other.checkpoint(PARTITION)).position
        saved = position == 3  # else the position's primary was the one that was killed
        assert await everything(other) == {**WRITTEN, "timers": [("p", 11 if saved else 10)]}
        assert await other.labels(list(many)) == (many if saved else {node: Label(node, 0) for node in many})
        await store.save(PARTITION, position, 4, Writes(labels={"a": Label("q", 9)}))
        assert await other.labels(["a"]) == {"a": Label("q", 9)}


async def test_a_call_that_was_cut_off_leaves_no_answer_for_the_next_one(redis_cluster: str) -> None:
    store = dying(redis_cluster, f"t{uuid.uuid4().hex[:16]}", call_timeout_s=0.2)
    await store.save(PARTITION, None, 2, WRITES)
    client: Redis = Redis.from_url(redis_cluster.replace("+cluster", "").partition(",")[0], protocol=2)
    await client.client_pause(600)
    with pytest.raises(Transient, match=r"did not answer PING within 0\.2 s"):
        await store.ping()
    await client.client_unpause()
    await client.aclose()
    assert await everything(store) == WRITTEN
    await store.wipe(KIND_LETTERS)
    await store.aclose()


@pytest.mark.parametrize(
    "address",
    ["redis+cluster://:hush@", "redis+cluster://h:port", "redis+cluster://h/1", "redis+cluster://h:1,:2", "redis+cluster://h?x=1"],
)
def test_an_invalid_address_names_the_setting_and_not_its_value(address: str) -> None:
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_URL") as caught:
        open_store(Settings(redis_url=address), ManualClock())
    assert address not in str(caught.value)


@pytest.mark.parametrize("wrong", ["credentials", "one server", "a cluster"])
async def test_a_wrong_kind_of_server_and_refused_credentials_name_the_setting(
    redis_cluster: str, redis_server: str, wrong: str
) -> None:
    node = redis_cluster.replace("+cluster", "").partition(",")[0]
    address = {
        "credentials": redis_cluster.replace("//", "//nobody:wrong@"),
        "one server": redis_server.replace("redis://", "redis+cluster://"),
        "a cluster": node,
    }[wrong]
    store = open_store(Settings(redis_url=address), ManualClock())
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_URL") as caught:
        await store.load(PARTITION, "fragment", ["a", "b", "c"], ["d"])
    assert "wrong@" not in str(caught.value)
    await store.aclose()


async def test_an_unreachable_cluster_is_transient_and_its_address_is_not_quoted() -> None:
    store = open_store(Settings(redis_url="redis+cluster://:hush@127.0.0.1:1,127.0.0.1:2"), ManualClock())
    with pytest.raises(Transient) as caught:
        await store.ping()
    assert "hush" not in str(caught.value)
    await store.aclose()
