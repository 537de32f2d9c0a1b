"""Events are refused while the disk of the stores is nearly full, and taken again by themselves."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from collector.free_space import FreeSpace, watch_free_space
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.support.collector_harness import KEY, collector_harness
from tests.support.polling import eventually_async

MB = 1024 * 1024
BATCH = {"batch": [{"type": "track", "userId": "ánh", "event": "Đặt hàng", "messageId": "m1"}]}


def test_events_are_refused_below_the_bound_and_taken_again_well_above_it() -> None:
    space = FreeSpace(500 * MB)
    answers = []
    for free in (500, 480, 520, 549, 550, 520, 499):
        space.update(free * MB)
        answers.append(space.is_short)
    assert answers == [False, True, True, True, False, False, True]


def test_nothing_waits_while_there_is_room() -> None:
    space = FreeSpace(500 * MB)
    assert space.waits() == ()
    space.update(501 * MB)
    assert space.waits() == ()
    space.update(20 * MB)
    (sentence,) = space.waits()
    assert "20 MB are free" in sentence
    assert "ONEFOLD_MIN_FREE_BYTES" in sentence


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/v1/import/customers", f"/pixel/v1/track?writeKey={KEY}"])
async def test_a_full_disk_stores_nothing_and_tells_clients_when_to_send_again(path: str) -> None:
    async with collector_harness() as collector:
        collector.parts.free_space.update(0)
        response = await (collector.http.get(path) if path.startswith("/pixel") else collector.post(path, BATCH))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "30"
        assert (await collector.http.get("/health")).status_code == 503
        assert await collector.records("events") == []
        assert await collector.records("quarantine") == []

        collector.parts.free_space.update(1 << 40)
        assert (await collector.post("/v1/batch", BATCH)).status_code == 200
        assert (await collector.http.get("/health")).status_code == 200
        assert len(await collector.events()) == 1


async def test_the_disk_of_the_data_directory_is_measured(tmp_path: Path) -> None:
    space, metrics = FreeSpace(1 << 60), Metrics()
    watching = asyncio.create_task(watch_free_space(space, Settings(data_dir=tmp_path), metrics))
    await eventually_async(lambda: space.is_short)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert space.free_bytes is not None
    assert metrics.registry.get_sample_value("onefold_stores_free_bytes", {"measured_by": "collector"}) == space.free_bytes


async def test_a_directory_that_cannot_be_asked_refuses_nothing(tmp_path: Path) -> None:
    space = FreeSpace(1 << 60)
    watching = asyncio.create_task(watch_free_space(space, Settings(data_dir=tmp_path / "gone"), Metrics()))
    done, _ = await asyncio.wait({watching}, timeout=0.1)
    assert not done
    assert not space.is_short
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


async def test_a_server_without_a_directory_of_the_stores_measures_nothing() -> None:
    secret = "x" * 32
    settings = Settings.model_validate({"mode": "server", "tenant_secret": secret})
    await watch_free_space(FreeSpace(1 << 60), settings, Metrics())
