"""Timers through crashes, on a real broker and a real Redis: everybody leaves, once, for the instant that was due."""

import asyncio
import shutil
import time
import uuid
from pathlib import Path

import pytest

from streams.applier import Exit
from tests.support.services import Running
from tests.support.timer_stage import Timed, timed

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

PEOPLE = 8_000


async def overdue(stage: Timed) -> int:
    """Everybody is in the segment, and their timers were due while no worker ran; the instant."""
    due_ms = time.time_ns() // 1_000_000 - 60_000
    await stage.called([due_ms] * PEOPLE)
    await stage.evaluated(due_ms - 1)
    await stage.until_entered(PEOPLE)
    assert (len(stage.entered), len(stage.exits), await stage.standing()) == (PEOPLE, 0, PEOPLE)
    return due_ms


async def test_workers_are_killed_while_timers_are_due(kafka: str, redis_server: str, tmp_path: Path) -> None:
    async with timed(kafka, redis_server, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        due_ms = await overdue(stage)
        first = stage.worker()
        await stage.until_left(1)
        first.kill()
        assert await stage.standing() > 0
        first.start()
        await stage.until_left(PEOPLE // 4)
        second = stage.worker()
        first.kill()
        assert await stage.standing() > 0
        await stage.until_none_stands()
        assert second.codes == []
        assert {exit_.at_ms for exit_ in stage.exits} == {due_ms}
        assert len({(exit_.profile_id, exit_.seq) for exit_ in stage.exits}) == PEOPLE
        assert {exit_.profile_id for exit_ in stage.exits} == set(stage.entered)


async def test_a_redis_that_lost_its_last_writes_has_everybody_leave(
    kafka: str, own_redis: tuple[Running, str], tmp_path: Path
) -> None:
    server, url = own_redis
    async with timed(kafka, url, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        due_ms = await overdue(stage)
        data, older = Path(server.spec.argv[server.spec.argv.index("--dir") + 1]), tmp_path / "older"
        worker = stage.worker()
        await stage.until_left(PEOPLE // 8)
        shutil.copytree(data, older)
        await stage.until_none_stands()
        await asyncio.to_thread(server.kill)
        shutil.rmtree(data)
        shutil.copytree(older, data)
        await asyncio.to_thread(server.start)
        assert await stage.standing() > 0
        await stage.until_none_stands()
        assert {exit_.at_ms for exit_ in stage.exits} == {due_ms}
        assert {exit_.profile_id for exit_ in stage.exits} == set(stage.entered)
        assert set(worker.codes) <= {Exit.STATE_LOST}
