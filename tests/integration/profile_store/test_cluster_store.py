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

from profile_store.cluster_client import Call
from profile_store.connect import open_store
from profile_store.keys import LETTERS, Keys
from profile_store.port import Decision, Document, Edge, Kind, Label, Members, Place, ProfileStore, Standing, Ties, Writes
from runtime.clock import ManualClock
from runtime.errors import Misconfigured, StateLost, Transient
from runtime.settings import Settings
from tests.support.redis_cluster import ClusterOfRedis
from tests.support.crashing_store import Death, DyingStore

pytestmark = pytest.mark.redis

PLACE = Place("events", 0, 1)
EDGE, CUT = Edge(1, "e", 1, "e", "cửa hàng"), Decision(on=True, at_ms=1, operation="cắt")
WRITES = Writes(
    documents={
        ("fragment", "a"): Document(b"\x001", PLACE.name, 1),
        ("fragment", "b"): Document(None, PLACE.name, 1),
        ("membership", "a"): Document(b"2", PLACE.name, 1),
        ("unsaid", PLACE.name): Document(b"3", PLACE.name, 1),
    },
    labels={"a": Label("p", 1), "b": Label("p", 1)},
    members={"p": Members(("a", "b"), 1, cause="sự kiện"), "b": Members((), 1, merged_into="p")},
    edges={("a", "b"): EDGE},
    decisions={("cut", "a", "c"): CUT},
    timers={"p": 10, "q": None},
)
KEYS = 4 + 4 + 3


def dying(url: str, environment: str, call_timeout_s: float = 5) -> DyingStore:
    return DyingStore(Settings(redis_url=url, environment=environment), ManualClock(), call_timeout_s=call_timeout_s)


@asynccontextmanager
async def two_of(url: str) -> AsyncIterator[tuple[DyingStore, DyingStore]]:
    """Two processes on one environment."""
    environment = f"t{uuid.uuid4().hex[:16]}"
    stores = dying(url, environment), dying(url, environment)
    try:
        yield stores
        await stores[1].wipe(LETTERS)
    finally:
        for store in stores:
            await store.aclose()


@pytest.fixture
async def two(redis_cluster: str) -> AsyncIterator[tuple[DyingStore, DyingStore]]:
    async with two_of(redis_cluster) as stores:
        yield stores


async def everything(store: ProfileStore) -> dict[str, object]:
    """All that WRITES touches, the standing left out."""
    return {
        "fragments": await store.documents("fragment", ["a", "b"]),
        "memberships": await store.documents("membership", ["a"]),
        "unsaid": await store.documents("unsaid", [PLACE.name]),
        "labels": await store.labels(["a", "b"]),
        "members": await store.members(["p", "b"]),
        "ties": await store.ties(["a", "b", "c"]),
        "timers": await store.due_timers(PLACE, 1000, 10),
    }


WRITTEN = {
    "fragments": {name: WRITES.documents["fragment", name] for name in ("a", "b")},
    "memberships": {"a": WRITES.documents["membership", "a"]},
    "unsaid": {PLACE.name: WRITES.documents["unsaid", PLACE.name]},
    "labels": WRITES.labels,
    "members": WRITES.members,
    "ties": {"a": Ties({"b": EDGE}, {("cut", "c"): CUT}), "b": Ties({"a": EDGE}), "c": Ties({}, {("cut", "a"): CUT})},
    "timers": [("p", 10)],
}


async def dies(store: DyingStore, lives: int, expected: int | None, position: int, writes: Writes) -> None:
    store.lives = lives
    with pytest.raises(Death):
        await store.save(PLACE, expected, position, writes)


@pytest.mark.parametrize("lives", range(KEYS + 1))
async def test_a_save_that_died_on_its_way_is_finished_by_the_next_load(two: tuple[DyingStore, DyingStore], lives: int) -> None:
    first, second = two
    await dies(first, lives, None, 2, WRITES)
    standing, documents, labels = await second.load(PLACE, "fragment", ["a", "b"], ["a", "b"])
    assert standing == Standing(position=2, held=False)
    assert (documents, labels) == (WRITTEN["fragments"], WRITTEN["labels"])
    assert await everything(second) == WRITTEN


async def test_standing_and_save_finish_what_another_began(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 3, None, 2, WRITES)
    assert (await second.standing(PLACE)).position == 2
    assert await everything(second) == WRITTEN
    await dies(first, 0, 2, 3, Writes(labels={"a": Label("q", 2)}))
    with pytest.raises(StateLost):
        await second.save(PLACE, 2, 4, Writes(labels={"a": Label("r", 3)}))
    assert await second.labels(["a"]) == {"a": Label("q", 2)}
    assert (await second.standing(PLACE)).position == 3


async def test_one_that_dies_while_finishing_another_leaves_it_to_the_next(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 2, None, 2, WRITES)
    second.lives = 5
    with pytest.raises(Death):
        await second.standing(PLACE)
    assert (await first.standing(PLACE)).position == 2
    assert await everything(first) == WRITTEN


async def test_a_zombie_that_writes_late_changes_nothing_that_is_newer(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 2, None, 2, WRITES)
    await second.standing(PLACE)
    newer = Writes(
        documents={("fragment", "a"): Document(b"newer", PLACE.name, 2)},
        labels={"a": Label("a", 3)},
        members={"p": Members(("b",), 3)},
        edges={("a", "b"): replace(EDGE, last_ms=9)},
        decisions={("cut", "a", "c"): replace(CUT, on=False, at_ms=5)},
        timers={"p": 500},
    )
    assert await second.save(PLACE, 2, 3, newer) == frozenset()
    then = await everything(second)
    assert ("fragment", "a") in await first.wake()
    assert await everything(second) == then
    assert (await second.labels(["a"]))["a"] == Label("a", 3)
    assert (await second.ties(["c"]))["c"] == Ties({}, {("cut", "a"): replace(CUT, on=False, at_ms=5)})
    assert (await second.standing(PLACE)).position == 3


async def test_a_zombie_is_overtaken_at_the_same_position_too(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await second.save(PLACE, None, 5, Writes())
    await dies(first, 0, 5, 5, Writes(labels={"a": Label("old", 1)}, timers={"p": 1}))
    await second.standing(PLACE)
    await second.save(PLACE, 5, 5, Writes(labels={"a": Label("new", 2)}, timers={"p": 2}))
    await first.wake()
    assert await second.labels(["a"]) == {"a": Label("new", 2)}
    assert await second.next_timer(PLACE) == 2


async def test_what_another_hand_wrote_for_a_save_is_not_refused_to_it(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 1, None, 2, WRITES)
    await second.standing(PLACE)
    assert await first.wake() == []


async def test_many_that_finish_one_entry_at_once_finish_it_once(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 4, None, 2, WRITES)
    standings = await asyncio.gather(*(store.standing(PLACE) for store in (first, second) for _ in range(5)))
    assert {standing.position for standing in standings} == {2}
    assert await everything(second) == WRITTEN


async def test_a_refused_document_is_named_and_the_rest_is_written(two: tuple[DyingStore, DyingStore]) -> None:
    first, _ = two
    await first.save(PLACE, None, 9, Writes(documents={("fragment", "a"): Document(b"9", PLACE.name, 8)}))
    assert await first.save(PLACE, 9, 9, WRITES) == {("fragment", "a")}
    assert await everything(first) == {
        **WRITTEN, "fragments": {"a": Document(b"9", PLACE.name, 8), "b": WRITES.documents["fragment", "b"]}
    }  # fmt: skip


async def test_values_that_other_places_wrote_are_overwritten(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    after = replace(PLACE, partitions=8)
    for number in range(20):
        store, place = (first, PLACE) if number % 2 else (second, after)
        position = (await store.standing(place)).position
        await store.save(place, position, number, Writes(labels={"a": Label(f"p{number}", number)}))
        assert await store.labels(["a"]) == {"a": Label(f"p{number}", number)}


async def test_after_a_wipe_of_positions_newer_values_are_taken(two: tuple[DyingStore, DyingStore]) -> None:
    first, second = two
    await dies(first, 3, None, 7, WRITES)
    await second.wipe(["position"])
    assert (await second.standing(PLACE)).position is None
    await second.save(PLACE, None, 0, replace(WRITES, documents={}))
    assert await second.labels(["a", "b"]) == WRITES.labels
    await first.wake()
    assert (await second.standing(PLACE)).position == 0


async def test_documents_are_never_older_than_the_position_they_are_loaded_with(
    two: tuple[DyingStore, DyingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = two
    await writer.save(PLACE, None, 1, Writes(documents={("fragment", "a"): Document(b"", PLACE.name, 0)}))
    run, moves = reader._link.run, iter([1])

    async def position_last(calls: Sequence[Call]) -> list[Any]:
        """As it is when the position's primary answers later than the others."""
        found = await run(calls[3:])
        for position in moves:
            documents: dict[tuple[Kind, str], Document] = {("fragment", "a"): Document(b"", PLACE.name, position)}
            await writer.save(PLACE, position, position + 1, Writes(documents=documents))
        return [*await run(calls[:3]), *found]

    monkeypatch.setattr(reader._link, "run", position_last)
    standing, documents, _ = await reader.load(PLACE, "fragment", ["a"])
    assert (standing.position, documents["a"].offset) == (2, 1)


async def test_an_entry_of_another_version_is_left_to_those_who_know_it(
    redis_cluster: str, two: tuple[DyingStore, DyingStore]
) -> None:
    store, _ = two
    key = Keys(store.environment, tagged=True).of("ahead", PLACE.name)
    async with RedisCluster.from_url(redis_cluster.replace("+cluster", "").partition(",")[0], protocol=2) as client:
        await client.set(key, b"1700000000000 " + msgspec.msgpack.encode([2, {"unknown": 1}]))
        with pytest.raises(Transient, match="another version"):
            await store.standing(PLACE)
        assert await client.exists(key)


async def test_the_keys_of_a_place_share_a_tag_and_no_others_have_one(redis_cluster: str) -> None:
    environment = f"t{uuid.uuid4().hex[:16]}"
    store = dying(redis_cluster, environment)
    await store.save(PLACE, None, 2, WRITES)
    await store.settle_delivery("k", 60_000)
    await store.hold(True)
    await dies(store, 0, 2, 3, Writes(labels={"a": Label("p", 2)}))
    assert await keys_of(redis_cluster, environment) == {
        "f:a", "f:b", "s:a", "u:events:0/1", "l:a", "l:b", "m:p", "m:b", "e:a", "e:b", "e:c",
        "t:{events:0/1}", "p:{events:0/1}", "w:{events:0/1}", "d:k", "hold",
    }  # fmt: skip
    await store.hold(False)
    await store.standing(PLACE)
    await store.wipe(LETTERS)
    assert await keys_of(redis_cluster, environment) == {"d:k"}
    await store.aclose()


async def keys_of(url: str, environment: str) -> set[str]:
    found: set[str] = set()
    for address in url.removeprefix("redis+cluster://").split(","):
        client: Redis = Redis.from_url(f"redis://{address}", protocol=2)
        found |= {key.decode().removeprefix(f"{environment}:") async for key in client.scan_iter(match=f"{environment}:*")}
        await client.aclose()
    return found


async def test_primaries_that_do_not_know_the_scripts_are_told(redis_cluster: str, two: tuple[DyingStore, DyingStore]) -> None:
    store, _ = two
    for address in redis_cluster.removeprefix("redis+cluster://").split(","):
        client: Redis = Redis.from_url(f"redis://{address}", protocol=2)
        await client.script_flush()
        await client.aclose()
    await store.save(PLACE, None, 2, WRITES)
    assert await everything(store) == WRITTEN


async def test_more_calls_at_once_than_connections_are_all_answered(two: tuple[DyingStore, DyingStore]) -> None:
    store, _ = two
    places = [Place("events", partition, 200) for partition in range(200)]
    await asyncio.gather(*(store.save(place, None, place.partition, WRITES) for place in places))
    standings = await asyncio.gather(*(store.standing(place) for place in places))
    assert [standing.position for standing in standings] == list(range(200))


async def test_slots_that_move_are_followed(own_redis_cluster: ClusterOfRedis) -> None:
    async with two_of(own_redis_cluster.url) as (store, other):
        await store.save(PLACE, None, 2, WRITES)
        await other.standing(PLACE)
        keys = Keys(store.environment, tagged=True)
        moved = own_redis_cluster.begin_move(keys.of("label", "a"), keys.of("edges", "a"), keys.of("position", PLACE.name))
        for each in (store, other):
            assert await everything(each) == WRITTEN  # some keys are here, some there
            assert (await each.standing(PLACE)).position == 2
        saving = asyncio.create_task(store.save(PLACE, 2, 3, replace(WRITES, documents={}, timers={"p": 11})))
        await asyncio.to_thread(own_redis_cluster.end_move, moved)
        assert await saving == frozenset()
        for each in (store, other):
            assert await everything(each) == {**WRITTEN, "timers": [("p", 11)]}
            assert (await each.standing(PLACE)).position == 3
        assert await other.save(PLACE, 3, 4, WRITES) == set(WRITES.documents)


async def test_a_primary_killed_and_started_again_is_used_again_with_what_was_saved(own_redis_cluster: ClusterOfRedis) -> None:
    async with two_of(own_redis_cluster.url) as (store, other):
        await store.save(PLACE, None, 2, WRITES)
        await other.ping()
        own_redis_cluster.nodes[1].kill()
        with pytest.raises(Transient):
            await other.ping()
        many = {f"{number}": Label("p", 1) for number in range(60)}
        with pytest.raises(Transient):
            await store.save(PLACE, 2, 3, Writes(labels=many, timers={"p": 11}))
        own_redis_cluster.nodes[1].start()
        own_redis_cluster.await_whole()
        position = (await other.standing(PLACE)).position
        saved = position == 3  # else the position's primary was the one that was killed
        assert await everything(other) == {**WRITTEN, "timers": [("p", 11 if saved else 10)]}
        assert await other.labels(list(many)) == (many if saved else {node: Label(node, 0) for node in many})
        await store.save(PLACE, position, 4, Writes(labels={"a": Label("q", 9)}))
        assert await other.labels(["a"]) == {"a": Label("q", 9)}


async def test_a_call_that_was_cut_off_leaves_no_answer_for_the_next_one(redis_cluster: str) -> None:
    store = dying(redis_cluster, f"t{uuid.uuid4().hex[:16]}", call_timeout_s=0.2)
    await store.save(PLACE, None, 2, WRITES)
    client: Redis = Redis.from_url(redis_cluster.replace("+cluster", "").partition(",")[0], protocol=2)
    await client.client_pause(600)
    with pytest.raises(Transient, match=r"did not answer PING within 0\.2 s"):
        await store.ping()
    await client.client_unpause()
    await client.aclose()
    assert await everything(store) == WRITTEN
    await store.wipe(LETTERS)
    await store.aclose()


@pytest.mark.parametrize(
    "address",
    ["redis+cluster://:hush@", "redis+cluster://h:port", "redis+cluster://h/1", "redis+cluster://h:1,:2", "redis+cluster://h?x=1"],
)
def test_an_address_that_is_none_names_the_setting_and_not_its_value(address: str) -> None:
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
        await store.load(PLACE, "fragment", ["a", "b", "c"], ["d"])
    assert "wrong@" not in str(caught.value)
    await store.aclose()


async def test_a_cluster_that_is_not_there_is_transient_without_its_address() -> None:
    store = open_store(Settings(redis_url="redis+cluster://:hush@127.0.0.1:1,127.0.0.1:2"), ManualClock())
    with pytest.raises(Transient) as caught:
        await store.ping()
    assert "hush" not in str(caught.value)
    await store.aclose()
