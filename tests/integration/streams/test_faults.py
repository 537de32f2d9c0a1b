"""The stream layer under faults, a process on a real broker and a real Redis: nothing lost, nothing twice, no worker stuck."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import QuarantineRecord
from streams.applier import ExitCode
from tests.support.fault_stage import FaultStage, SupervisedWorker, fault_stage
from tests.support.services import ServiceProcess
from tests.support.transactions import write_transaction

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

ROUNDS = int(os.environ.get("ONEFOLD_CHAOS_ROUNDS", "1"))
OUTAGE_S = float(os.environ.get("ONEFOLD_CHAOS_OUTAGE_S", "8"))
SLOW = {"COUNTING_SLOW_S": "0.15"}


@pytest.fixture
async def stage(kafka: str, redis_server: str, tmp_path: Path) -> AsyncIterator[FaultStage]:
    async with fault_stage(kafka, redis_server, f"t{uuid.uuid4().hex[:12]}", tmp_path) as made:
        yield made


async def test_a_kill_in_mid_slice(stage: FaultStage) -> None:
    await stage.feed(3000)
    worker = stage.worker(**SLOW)
    for goal in (300, 1200):
        await stage.wait_until_counted(goal)
        worker.kill()
        worker.start()
    await stage.wait_until_committed()
    await stage.expect_exactly_once()


async def test_graceful_stop_in_mid_slice_commits_completed_records(stage: FaultStage) -> None:
    await stage.feed(3000)
    worker = stage.worker(**SLOW)
    await stage.wait_until_counted(500)
    assert await worker.terminate() == ExitCode.STOPPED
    assert await stage.committed() == (await stage.counts()).total()
    worker.start()
    await stage.wait_until_committed()
    await stage.expect_exactly_once()


async def test_aborted_transactions_are_not_applied_and_markers_are_committed(stage: FaultStage, kafka: str) -> None:
    topic, committed_values = stage.settings.topic("events"), [b"1", b"2", b"3"]
    worker = stage.worker()
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, committed_values, commit=True, partition=0)
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"aborted"] * 3, commit=False, partition=0)
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"aborted"], commit=False, partition=1)
    ends = await stage.bus.end_offsets(topic)
    assert (ends[0], ends[1]) == (8, 2)

    async def all_is_committed() -> bool:
        committed = await stage.bus.committed(stage.settings.group("counting"), topic)
        return (committed.get(0), committed.get(1)) == (ends[0], ends[1])

    await stage.wait_until(all_is_committed)
    assert await stage.counts() == {(0, offset): 1 for offset in range(3)}
    worker.kill()
    worker.start()
    await write_transaction(Settings(kafka_bootstrap=kafka), topic, [b"4"], commit=True, partition=0)
    ends = await stage.bus.end_offsets(topic)
    await stage.wait_until(all_is_committed)
    assert await stage.counts() == {(0, offset): 1 for offset in (0, 1, 2, 8)}


async def test_a_bug_that_happens_once_restarts_the_worker_and_loses_nothing(stage: FaultStage, tmp_path: Path) -> None:
    await stage.feed(1000)
    worker = stage.worker(COUNTING_RAISE_ONCE=str(tmp_path / "raised"))
    await stage.wait_until_committed()
    await stage.expect_exactly_once()
    assert worker.codes == [ExitCode.BUG]
    assert await stage.read("quarantine") == []


async def test_a_poison_record_is_quarantined_and_the_others_are_applied(stage: FaultStage) -> None:
    await stage.feed(500)
    await stage.write(b"poison")
    await stage.feed(500)
    worker = stage.worker(COUNTING_POISON="poison")
    await stage.wait_until_committed()
    await stage.expect_exactly_once(without=1)
    held = {
        decode(QuarantineRecord, record.value).id: decode(QuarantineRecord, record.value)
        for record in await stage.read("quarantine")
    }
    assert [entry.reason for entry in held.values()] == ["poison"]
    assert worker.codes == [ExitCode.BUG]


async def test_workers_join_and_are_killed_under_load(stage: FaultStage) -> None:
    await stage.feed(2000)
    stage.worker(**SLOW)
    for _ in range(ROUNDS):
        before = (await stage.counts()).total()
        second = stage.worker(**SLOW)
        await stage.feed(2000)
        await stage.wait_until_counted(before + 800)
        second.kill()
        third = stage.worker(**SLOW)
        await stage.wait_until_counted(before + 1500)
        await third.terminate()
    await stage.wait_until_committed(180)
    await stage.expect_exactly_once()


async def test_a_slice_that_outlasts_the_session_is_applied_once(stage: FaultStage) -> None:
    await stage.feed(40)
    stage.worker(COUNTING_SLOW_S="9")
    stage.worker(COUNTING_SLOW_S="9")
    await stage.wait_until_committed(120)
    await stage.expect_exactly_once()


async def test_broker_outage_is_survived(own_kafka: tuple[ServiceProcess, str], redis_server: str, tmp_path: Path) -> None:
    broker, bootstrap = own_kafka
    async with fault_stage(bootstrap, redis_server, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        await stage.feed(3000)
        stage.worker(**SLOW)
        await stage.wait_until_counted(500)
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(OUTAGE_S)  # the outage itself
        await asyncio.to_thread(broker.start)
        await stage.feed(1000)
        await stage.wait_until_committed(150)
        await stage.expect_exactly_once()


async def test_redis_restored_to_an_older_state_is_detected_and_replayed(
    kafka: str, own_redis: tuple[ServiceProcess, str], tmp_path: Path
) -> None:
    server, url = own_redis
    async with fault_stage(kafka, url, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        worker = await _with_older_state(stage, server, tmp_path)
        await stage.wait_until_committed(120)
        await stage.expect_exactly_once()
        assert set(worker.codes) == {ExitCode.STATE_LOST}


async def _with_older_state(stage: FaultStage, server: ServiceProcess, tmp_path: Path) -> SupervisedWorker:
    """Let a worker count and commit everything, then restart Redis with an older copy of its data.

    No more records arrive after the restart.
    """
    await stage.feed(2000)
    worker = stage.worker(**SLOW)
    await stage.wait_until_counted(600)
    data = Path(server.spec.argv[server.spec.argv.index("--dir") + 1])
    older = tmp_path / "older"
    shutil.copytree(data, older)
    await stage.wait_until_committed()
    await asyncio.to_thread(server.kill)
    shutil.rmtree(data)
    shutil.copytree(older, data)
    await asyncio.to_thread(server.start)
    return worker
