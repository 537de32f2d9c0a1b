"""Timers through crashes, on a real broker and a real Redis: everybody leaves once, at the instant that was due."""

import asyncio
import shutil
import time
import uuid
from pathlib import Path

import pytest

from streams.applier import ExitCode
from tests.support.rounds import rounds
from tests.support.services import ServiceProcess
from tests.support.timer_stage import TimerStage, timer_stage

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

PEOPLE = rounds(quick=4_000, thorough=8_000)


async def overdue(stage: TimerStage) -> int:
    """Bring everybody into the segment with timers that became due while no worker ran; return when they were due."""
    due_ms = time.time_ns() // 1_000_000 - 60_000
    await stage.send_calls([due_ms] * PEOPLE)
    await stage.evaluate_backlog(due_ms - 1)
    await stage.wait_until_entered(PEOPLE)
    assert len(stage.entered) == PEOPLE
    assert len(stage.exits) == 0
    assert await stage.count_timers() == PEOPLE
    return due_ms


async def test_workers_are_killed_while_timers_are_due(kafka: str, redis_server: str, tmp_path: Path) -> None:
    async with timer_stage(kafka, redis_server, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        due_ms = await overdue(stage)
        first = stage.worker()
        await stage.wait_until_exited(1)
        first.kill()
        assert await stage.count_timers() > 0
        first.start()
        await stage.wait_until_exited(PEOPLE // 4)
        second = stage.worker()
        first.kill()
        assert await stage.count_timers() > 0
        await stage.wait_until_no_timers()
        assert second.codes == []
        assert {exit_.at_ms for exit_ in stage.exits} == {due_ms}
        assert len({(exit_.profile_id, exit_.seq) for exit_ in stage.exits}) == PEOPLE
        assert {exit_.profile_id for exit_ in stage.exits} == set(stage.entered)


async def test_timers_fire_after_redis_lost_its_last_writes(
    kafka: str, own_redis: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    server, url = own_redis
    async with timer_stage(kafka, url, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        due_ms = await overdue(stage)
        data, older = Path(server.spec.argv[server.spec.argv.index("--dir") + 1]), tmp_path / "older"
        worker = stage.worker()
        await stage.wait_until_exited(PEOPLE // 8)
        shutil.copytree(data, older)
        await stage.wait_until_no_timers()
        await asyncio.to_thread(server.kill)
        shutil.rmtree(data)
        shutil.copytree(older, data)
        await asyncio.to_thread(server.start)
        assert await stage.count_timers() > 0
        await stage.wait_until_no_timers()
        assert {exit_.at_ms for exit_ in stage.exits} == {due_ms}
        assert {exit_.profile_id for exit_ in stage.exits} == set(stage.entered)
        assert set(worker.codes) <= {ExitCode.STATE_LOST}
