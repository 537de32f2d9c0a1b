"""The slots of one user: who waits, who is refused, and that a slot comes back whatever happens."""

import asyncio
from dataclasses import replace

import pytest

from embedded.clickhouse.limits import limits_of
from embedded.clickhouse.protocol import ClientDisconnected, QueryRefused
from embedded.clickhouse.slots import UserSlots

LIMITS = replace(limits_of("analyst", 3 << 30, 2), queries=1, waiting=1, wait_s=60)


async def occupy(slots: UserSlots, ended: asyncio.Event, *, is_kill: bool = False) -> str:
    async with slots.take(is_kill=is_kill):
        await ended.wait()
    return "ran"


async def waiting(slots: UserSlots, ended: asyncio.Event) -> asyncio.Task[str]:
    task = asyncio.create_task(occupy(slots, ended))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_the_next_query_waits_until_one_has_ended_and_the_one_after_it_is_refused() -> None:
    slots, ended = UserSlots("analyst", LIMITS), asyncio.Event()
    tasks = [await waiting(slots, ended), await waiting(slots, ended)]
    with pytest.raises(QueryRefused, match=r"Code: 202\..*analyst: 1 run"):
        await occupy(slots, ended)
    ended.set()
    assert await asyncio.gather(*tasks) == ["ran", "ran"]
    assert await occupy(slots, ended) == "ran"


async def test_a_query_that_waited_too_long_is_refused() -> None:
    slots, ended = UserSlots("analyst", replace(LIMITS, wait_s=0.01)), asyncio.Event()
    running = await waiting(slots, ended)
    with pytest.raises(QueryRefused, match=r"Code: 202\."):
        await occupy(slots, ended)
    ended.set()
    assert await running == "ran"
    assert await occupy(slots, ended) == "ran"


async def test_a_client_that_leaves_gives_its_turn_to_the_next() -> None:
    slots, ended = UserSlots("analyst", LIMITS), asyncio.Event()
    running, disconnected = await waiting(slots, ended), asyncio.get_running_loop().create_future()

    async def wait_and_leave() -> None:
        async with slots.take(is_kill=False, disconnected=disconnected):
            raise AssertionError("the client has left: nothing may run for it")

    leaving = asyncio.create_task(wait_and_leave())
    await asyncio.sleep(0)
    disconnected.set_result(None)
    with pytest.raises(ClientDisconnected):
        await leaving
    ended.set()
    assert await running == "ran"
    assert await occupy(slots, ended) == "ran"


async def test_kill_has_a_slot_when_all_others_are_taken() -> None:
    slots, ended = UserSlots("analyst", LIMITS), asyncio.Event()
    running = await waiting(slots, ended)
    free = asyncio.Event()
    free.set()
    assert await occupy(slots, free, is_kill=True) == "ran"
    ended.set()
    assert await running == "ran"
