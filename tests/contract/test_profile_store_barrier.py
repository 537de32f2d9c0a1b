"""What the switch of definitions asks of a profile store: shutting writers out, and saying what the state presumes."""

from collections.abc import AsyncIterator

import pytest

from profile_store.port import DEFINITIONS, Document, Place, ProfileStore, Standing, Writes
from runtime.clock import ManualClock
from runtime.errors import StateLost
from tests.support.stores import STORES, store_named

PLACE = Place("events", 0, 3)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[ProfileStore]:
    async with store_named(request, clock) as store:
        yield store


def fragment(offset: int, data: bytes | None = b"data", place: Place = PLACE) -> Writes:
    return Writes(documents={("fragment", "a"): Document(data, place.name, offset)})


async def stored(store: ProfileStore) -> Document:
    return (await store.documents("fragment", ["a"]))["a"]


async def test_what_was_loaded_before_its_writers_were_shut_out_is_not_saved(store: ProfileStore) -> None:
    before, _, _ = await store.load(PLACE, "fragment", ["a"])
    assert (await store.shut_out(PLACE)).fence == before.fence + 1
    for writes in (fragment(1), Writes()):
        with pytest.raises(StateLost):
            await store.save(PLACE, before.position, 2, writes, before.fence)
    assert (await stored(store)).data is None
    after, _, _ = await store.load(PLACE, "fragment", ["a"])
    assert await store.save(PLACE, after.position, 2, fragment(1), after.fence) == frozenset()
    assert await store.standing(PLACE) == Standing(2, held=False, fence=after.fence)


async def test_a_fence_keeps_out_one_place_and_nobody_who_does_not_ask(store: ProfileStore) -> None:
    other = Place("events", 1, 3)
    await store.save(other, None, 5, Writes())
    await store.shut_out(PLACE)
    await store.shut_out(PLACE)
    assert await store.save(PLACE, None, 1, fragment(0)) == frozenset()
    assert await store.save(other, 5, 6, Writes(), 0) == frozenset()
    assert (await store.standing(other)).fence == 0
    assert (await store.standing(PLACE)).fence == 2


async def test_every_standing_tells_which_definitions_the_state_presumes(store: ProfileStore) -> None:
    await store.save(DEFINITIONS, None, 7, Writes())
    standing, _, _ = await store.load(PLACE, "fragment", ["a"])
    assert standing == Standing(position=None, held=False, definitions=7)
    assert (await store.standing(PLACE)).definitions == 7
