"""When a running statement is ended: its client has left, or a reader's result takes the memory of others."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from embedded.clickhouse.engine import Engine
from embedded.clickhouse.exchange import Exchange
from embedded.clickhouse.limits import UserRole, limits_of
from embedded.clickhouse.protocol import ClientDisconnected, QueryRefused, QueryRequest
from embedded.clickhouse.slots import Caller, UserSlots
from embedded.clickhouse.statement_run import StatementRun
from embedded.clickhouse.statement_scan import scan

MEMORY_BYTES = 3 << 30
JSON = "SELECT number FROM numbers(1000000000000) FORMAT JSON"


class _EndlessEngine:
    """An engine whose one query runs until it is killed for the `kills`-th time: earlier, it had not begun."""

    def __init__(self, memory_in_use: int, kills: int) -> None:
        self.carriers: list[str] = []
        self._memory_in_use, self._kills = memory_in_use, kills
        self._killed = threading.Event()
        self._threads = ThreadPoolExecutor(1)

    def pool(self, _user: str) -> ThreadPoolExecutor:
        return self._threads

    def open(self, _role: UserRole) -> "_EndlessEngine":
        return self

    def query(self, sql: str, _format: str = "", **_parameters: Any) -> None:
        if not sql.startswith("SET"):
            assert self._killed.wait(60)
            raise RuntimeError("Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)")

    def kill(self, carrier: str) -> None:
        self.carriers.append(carrier)
        if len(self.carriers) == self._kills:
            self._killed.set()

    def memory_in_use(self) -> "Future[int]":
        answer: Future[int] = Future()
        answer.set_result(self._memory_in_use)
        return answer


async def _nothing(*_: Any) -> Any:
    raise AssertionError("nothing is read or sent")


@asynccontextmanager
async def selecting(engine: _EndlessEngine, role: UserRole) -> AsyncIterator[tuple["asyncio.Task[None]", "asyncio.Future[None]"]]:
    """Start the statement; give its task, and the future by which the client leaves."""
    limits = limits_of(role, MEMORY_BYTES, 2)
    caller = Caller("lan", role, limits, UserSlots("lan", limits))
    exchange = Exchange(QueryRequest("POST", "/", {}, (), {}, "q1"), _nothing, _nothing, cast("Any", None))
    run = StatementRun(cast("Engine", engine), exchange, caller, None)
    disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run.select(JSON, scan(JSON), disconnected))
    yield task, disconnected


async def test_a_readers_result_does_not_take_the_memory_of_others() -> None:
    engine = _EndlessEngine(memory_in_use=MEMORY_BYTES // 2, kills=1)
    async with selecting(engine, "analyst") as (task, _):
        with pytest.raises(QueryRefused, match=r"Code: 241\..*streamed"):
            await task
    assert engine.carriers == ["analyst.lan/q1"]


@pytest.mark.parametrize(("role", "memory_in_use"), [("app", MEMORY_BYTES), ("analyst", MEMORY_BYTES // 4)])
async def test_a_query_is_ended_until_it_has_ended_once_its_client_has_left(role: UserRole, memory_in_use: int) -> None:
    engine = _EndlessEngine(memory_in_use, kills=3)
    async with selecting(engine, role) as (task, disconnected):
        disconnected.set_result(None)
        with pytest.raises(ClientDisconnected):
            await task
    assert engine.carriers == [f"{role}.lan/q1"] * 3
