"""Exactly once on a Redis Cluster: real workers that are killed, and a primary that is killed, under load."""

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.support.fault_stage import fault_stage
from tests.support.redis_cluster import ClusterProcesses

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

SLOW = {"COUNTING_SLOW_S": "0.15"}


async def test_workers_are_killed_in_mid_slice_on_a_cluster(kafka: str, redis_cluster: str, tmp_path: Path) -> None:
    async with fault_stage(kafka, redis_cluster, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        await stage.feed(3000)
        workers = [stage.worker(**SLOW), stage.worker(**SLOW)]
        for goal, worker in zip((300, 900, 1500), (*workers, workers[0]), strict=True):
            await stage.wait_until_counted(goal)
            worker.kill()
            worker.start()
        await stage.wait_until_committed()
        await stage.expect_exactly_once()


async def test_a_primary_is_killed_under_load_and_comes_back(
    kafka: str, own_redis_cluster: ClusterProcesses, tmp_path: Path
) -> None:
    async with fault_stage(kafka, own_redis_cluster.url, f"t{uuid.uuid4().hex[:12]}", tmp_path) as stage:
        await stage.feed(3000)
        stage.worker(**SLOW)
        for number, goal in enumerate((300, 900)):
            await stage.wait_until_counted(goal)
            await asyncio.to_thread(own_redis_cluster.nodes[number].kill)
            await asyncio.to_thread(own_redis_cluster.nodes[number].start)
            await asyncio.to_thread(own_redis_cluster.wait_until_whole)
        await stage.wait_until_committed()
        await stage.expect_exactly_once()
