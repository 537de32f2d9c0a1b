"""`python -m streams` as its supervisor sees it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from ops.adopted_logs import record_log
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.settings import Settings
from schemas.topics import TOPICS
from streams.applier import ExitCode
from tests.support.polling import eventually
from tests.support.ports import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


async def test_the_process_is_ready_when_every_agent_has_partitions_and_stops_in_order(
    kafka: str, redis_server: str, tmp_path: Path
) -> None:
    environment, port = f"t{uuid.uuid4().hex[:12]}", free_port()
    settings = Settings(kafka_bootstrap=kafka, redis_url=SecretStr(redis_server), environment=environment)
    store = open_store(settings, SystemClock())
    async with KafkaBus(settings) as bus:
        await bus.create_topics(
            {settings.topic(topic.name): (1 if topic.is_single_partition else 2, dict(topic.config)) for topic in TOPICS}
        )
        await record_log(settings, bus, (store,))
    await store.aclose()
    variables = {
        "ONEFOLD_KAFKA_BOOTSTRAP": kafka,
        "ONEFOLD_REDIS_URL": redis_server,
        "ONEFOLD_ENVIRONMENT": environment,
        "ONEFOLD_DATA_DIR": str(tmp_path),
        "ONEFOLD_METRICS_PORT": str(port),
    }
    process = _started(variables, tmp_path / "log")
    try:

        def ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            return _ready(port)

        eventually(ready, within_s=60, explain=lambda: (tmp_path / "log").read_text()[-3000:])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == ExitCode.STOPPED
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


def _started(variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen([sys.executable, "-m", "streams"], env={**os.environ, **variables}, stdout=out, stderr=out)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
