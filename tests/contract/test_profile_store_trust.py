"""Trusted edges of a node stay readable whatever public ones there are, in every driver of the profile store."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from domain.identity.model import Decision, Edge, Neighbours
from profile_store import encoding, redis_base
from profile_store.port import ProfileStore, TopicPartition, Writes
from runtime.clock import ManualClock
from tests.support.stores import STORES, store_named

PARTITION = TopicPartition("links", 0, 1)
EDGE = Edge(5, "Đơn hàng 1", 6, "Đơn hàng 2", "cửa hàng", "a", "together", "quy tắc 3")
CUT = Decision(on=True, at_ms=5, operation="cắt")


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ProfileStore]:
    async with store_named(request, ManualClock()) as store:
        yield store


async def test_public_edges_do_not_keep_the_trusted_ones_from_being_read(
    store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (encoding, redis_base):
        monkeypatch.setattr(module, "MAX_FIELDS", 4)
    public = {("a", f"n{number}"): replace(EDGE, trusted=False) for number in range(5)}
    writes = Writes(edges={**public, ("a", "b"): EDGE}, decisions={("cut", "a", "b"): CUT})
    await store.save(PARTITION, None, 1, writes)
    assert await store.neighbours(["a", "n0"]) == {
        "a": Neighbours({"b": EDGE}, {("cut", "b"): CUT}, crowded_by_public=True),
        "n0": Neighbours({"a": replace(EDGE, trusted=False)}),
    }


async def test_a_pair_that_has_become_trusted_is_read_and_scanned_as_such(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 1, Writes(edges={("a", "b"): replace(EDGE, trusted=False), ("a", "c"): EDGE}))
    await store.save(PARTITION, 1, 2, Writes(edges={("a", "b"): EDGE}))
    assert await store.neighbours(["a", "b"]) == {"a": Neighbours({"b": EDGE, "c": EDGE}), "b": Neighbours({"a": EDGE})}
    scanned = [(node, encoding.unpack_scanned_neighbours(value)) async for node, value in store.scan("edges")]
    assert sorted(scanned) == [("a", {"b": EDGE, "c": EDGE}), ("b", {"a": EDGE}), ("c", {"a": EDGE})]
    await store.wipe(["edges", "public_edges"])
    assert await store.neighbours(["a"]) == {"a": Neighbours()}
