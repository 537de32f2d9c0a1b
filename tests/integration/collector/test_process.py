"""The collector as its own process, with a real broker behind it and Segment's own client before it."""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from segment.analytics.client import Client

from domain.definitions.kinds import encode_definition
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.http.server import allow_connections
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.identifiers import node
from schemas.records import QuarantineRecord
from tests.support.collector_harness import KEY, source
from tests.support.collector_process import collector_process
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.services import ServiceProcess

ROOT = Path(__file__).parents[3]
WITHIN_S = 60
wait_until = functools.partial(eventually, within_s=WITHIN_S)


@dataclass
class Process:
    """A running collector."""

    child: subprocess.Popen[bytes]
    settings: Settings
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.collector_port}"

    def status(self, port: int, path: str) -> int:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10).status_code
        return 0

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.child.poll() is None, self.log.read_text()
            return self.status(self.settings.metrics_port, "/ready") == 200

        wait_until(ready)

    def stop(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(WITHIN_S)


@contextlib.contextmanager
def collector(
    bootstrap: str, directory: Path, environment: str, port: int | None = None, limits: Mapping[str, str] | None = None
) -> Iterator[Process]:
    settings = Settings(
        kafka_bootstrap=bootstrap, environment=environment, collector_port=port or free_port(), metrics_port=free_port()
    )
    variables = {
        "ONEFOLD_KAFKA_BOOTSTRAP": bootstrap,
        "ONEFOLD_ENVIRONMENT": environment,
        "ONEFOLD_COLLECTOR_PORT": str(settings.collector_port),
        "ONEFOLD_METRICS_PORT": str(settings.metrics_port),
        **(limits or {}),
    }
    log = directory / f"collector-{uuid.uuid4().hex[:6]}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "collector"], cwd=ROOT, env={**os.environ, **variables}, stdout=out, stderr=out
        )
    try:
        yield Process(child, settings, log)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


async def prepare(settings: Settings) -> None:
    async with KafkaBus(settings) as bus:
        await bus.create_topics(
            {settings.topic(name): (count, {}) for name, count in (("events", 3), ("quarantine", 1), ("definitions", 1))}
        )
        producer = await bus.producer()
        await producer.send([Outgoing(settings.topic("definitions"), encode_definition(source("default", KEY)), b"Source/default")])
        await producer.aclose()


async def read(settings: Settings, topic: str, count: int) -> list[Any]:
    """Read the first `count` records of a topic, decoded; the records of a partition come in their order."""
    kind: Any = Event if topic == "events" else QuarantineRecord
    found: list[Any] = []
    async with KafkaBus(settings) as bus, asyncio.timeout(WITHIN_S):
        reader = await bus.reader([settings.topic(topic)])
        while len(found) < count:
            for records in (await reader.poll(500, 1000)).values():
                for record in records:
                    held = decode(kind, record.value)
                    assert topic != "events" or record.key == held.owner.encode()
                    found.append(held)
        await reader.aclose()
    return found


@pytest.fixture
def environment() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def running(kafka: str, tmp_path: Path, environment: str) -> Iterator[Process]:
    with collector(kafka, tmp_path, environment) as process:
        asyncio.run(prepare(process.settings))
        process.wait_until_ready()
        yield process


def call_everything(client: Client, at: datetime) -> None:
    traits = {"email": "Buoi@Cho-Que.VN", "phone": "0912 345 678", "name": "Lê Thị Bưởi", "address": {"city": "Thừa Thiên Huế"}}
    client.identify("u1", traits, anonymous_id="c1", message_id="m-identify", timestamp=at)
    client.track("u1", "Đã đặt hàng", {"total": 250_000, "items": ["Bánh xèo"]}, message_id="m-track", timestamp=at)
    client.page(
        anonymous_id="c1", category="Cửa hàng", name="Trang chủ", properties={"path": "/"}, message_id="m-page", timestamp=at
    )
    client.screen("u1", name="Giỏ hàng", message_id="m-screen", timestamp=at)
    client.group("u1", "g1", {"name": "Công ty Hoa Sen"}, message_id="m-group", timestamp=at)
    client.alias("c2", "u1", message_id="m-alias", timestamp=at)
    client.track(None, "Nobody", anonymous_id="null", message_id="m-bad", timestamp=at)


@pytest.mark.kafka
@pytest.mark.parametrize("gzip", [False, True])
def test_events_of_segments_client_reach_the_log(running: Process, gzip: bool) -> None:
    failed: list[Exception] = []
    client = Client(KEY, host=running.url, gzip=gzip, upload_interval=0.05, on_error=lambda error, _: failed.append(error))
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    call_everything(client, at)
    client.shutdown()
    assert failed == []
    events = {event.id: event for event in asyncio.run(read(running.settings, "events", 6))}
    assert {key: (event.type, event.name) for key, event in events.items()} == {
        "m-identify": ("identify", ""),
        "m-track": ("track", "Đã đặt hàng"),
        "m-page": ("page", "Trang chủ"),
        "m-screen": ("screen", "Giỏ hàng"),
        "m-group": ("group", ""),
        "m-alias": ("alias", ""),
    }
    identify = events["m-identify"]
    assert identify.identifiers == (
        ("anonymous_id", "c1"), ("email", "buoi@cho-que.vn"), ("phone", "+84912345678"), ("user_id", "u1"),
    )  # fmt: skip
    assert identify.traits["name"] == "Lê Thị Bưởi"
    assert identify.traits["address"] == {"city": "Thừa Thiên Huế"}
    secret = running.settings.tenant_key
    assert identify.owner == node(secret, ("user_id", "u1"))
    assert events["m-track"].properties == {"total": 250_000, "items": ["Bánh xèo"]}
    assert events["m-page"].identifiers == (("anonymous_id", "c1"),)
    assert events["m-page"].properties == {"path": "/", "category": "Cửa hàng"}
    assert events["m-group"].properties["groupId"] == "g1"
    assert events["m-group"].traits == {"name": "Công ty Hoa Sen"}
    assert events["m-alias"].identifiers == (("user_id", "u1"),)
    assert events["m-alias"].properties == {"previousId": "c2"}
    at_ms = int(at.timestamp() * 1000)
    for event in events.values():
        # Corrected by sentAt: right but for the time that the request was on its way.
        assert at_ms <= event.time_ms <= at_ms + 60_000
        assert event.received_ms > event.time_ms
        assert event.context["library"]["name"] == "analytics-python"
    (bad,) = asyncio.run(read(running.settings, "quarantine", 1))
    assert bad.reason == "no_identifier"
    assert bad.counted is True
    assert bad.source == "default"


@pytest.mark.kafka
def test_1100_requests_without_a_key_shut_nobody_out_and_all_are_closed_in_the_end(
    kafka: str, tmp_path: Path, environment: str
) -> None:
    limits = {f"ONEFOLD_HTTP_{name}_TIMEOUT_MS": "2000" for name in ("HEADERS", "BODY")}
    allow_connections(2_000)
    with collector(kafka, tmp_path, environment, limits=limits) as process, contextlib.ExitStack() as flood:
        asyncio.run(prepare(process.settings))
        process.wait_until_ready()
        settings, half_body = process.settings, b"POST /v1/track HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"
        links = [
            flood.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S))
            for port in (*[settings.collector_port] * 1_100, *[settings.metrics_port] * 300)
        ]
        for number, link in enumerate(links):
            with contextlib.suppress(ConnectionError):  # it may have had to give way already
                link.sendall(half_body if number < 1_100 else b"GET /metrics HTTP/1.1\r\nX: ")
        answer = httpx.post(f"{process.url}/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, ""), timeout=WITHIN_S)
        assert answer.status_code == 200
        assert process.status(settings.metrics_port, "/ready") == 200
        for link in links:
            with contextlib.suppress(ConnectionError):
                while link.recv(65_536):
                    pass
        metrics = httpx.get(f"http://127.0.0.1:{settings.metrics_port}/metrics", timeout=WITHIN_S).text
        assert 'onefold_http_connections_closed_total{port="collector",reason="no_room"}' in metrics
        assert 'onefold_http_connections_closed_total{port="metrics",reason="headers"}' in metrics


@pytest.mark.kafka
def test_a_request_whose_body_is_too_large_to_read_is_answered(running: Process) -> None:
    large = b'{"batch": [' + b" " * (10 * 1024 * 1024) + b"]}"
    with httpx.Client(base_url=running.url, timeout=30) as http:
        for auth, status in (((KEY, ""), 413), (("wrong", ""), 401), ((KEY, ""), 413)):
            answer = http.post("/v1/batch", content=large, auth=auth)
            assert answer.status_code == status
            assert answer.json()["success"] is False
        assert http.post("/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, "")).status_code == 200


@pytest.mark.kafka
def test_the_client_retains_its_events_during_a_broker_outage(
    own_kafka: tuple[ServiceProcess, str], tmp_path: Path, environment: str
) -> None:
    service, bootstrap = own_kafka
    with collector(bootstrap, tmp_path, environment) as process:
        asyncio.run(prepare(process.settings))
        process.wait_until_ready()
        service.kill()
        answer = httpx.post(f"{process.url}/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, ""), timeout=30)
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["retry-after"]) > 0
        failed: list[Exception] = []
        client = Client(KEY, host=process.url, upload_interval=0.05, on_error=lambda error, _: failed.append(error))
        for n in range(20):
            client.track("u1", "Đã đặt hàng", {"n": n}, message_id=f"m{n}")
        wait_until(lambda: process.log.read_text().count("publish_failed") >= 2)
        service.start()
        client.shutdown()
        assert failed == []
        events = asyncio.run(read(process.settings, "events", 20))
        assert {event.id for event in events} >= {f"m{n}" for n in range(20)}
        assert process.stop() == 0


@pytest.mark.kafka
def test_a_request_in_flight_is_answered_before_the_process_ends(running: Process) -> None:
    body = b'{"userId": "u1", "event": "X", "messageId": "last", "writeKey": "' + KEY.encode() + b'"}'
    address = ("127.0.0.1", running.settings.collector_port)
    with socket.create_connection(address, timeout=WITHIN_S) as link:
        link.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:20])
        wait_until(lambda: running.status(running.settings.collector_port, "/health") == 200)
        running.child.send_signal(signal.SIGTERM)

        def closed() -> bool:
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                socket.create_connection(address, timeout=1).close()
                return False
            return True

        wait_until(closed)
        link.sendall(body[20:])
        assert link.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert running.child.wait(WITHIN_S) == 0
    (event,) = asyncio.run(read(running.settings, "events", 1))
    assert event.id == "last"


def test_collector_starting_without_a_broker_answers_503(tmp_path: Path, environment: str) -> None:
    with collector(f"127.0.0.1:{free_port()}", tmp_path, environment) as process:
        wait_until(lambda: process.status(process.settings.collector_port, "/health") == 503)
        answer = httpx.post(f"{process.url}/v1/track", json={"userId": "u1", "event": "X"}, auth=(KEY, ""))
        assert answer.status_code == 503
        assert answer.json()["code"] == "starting"
        assert process.status(process.settings.metrics_port, "/ready") == 503
        assert process.stop() == 0


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path, environment: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        collector(f"127.0.0.1:{free_port()}", tmp_path, environment, other.getsockname()[1]) as process,
    ):
        assert process.child.wait(WITHIN_S) == 1
        last = process.log.read_text().strip().splitlines()[-1]
        assert "ONEFOLD_COLLECTOR_PORT" in last
        assert "Traceback" not in process.log.read_text()


def test_a_disk_that_is_nearly_full_is_named_by_the_health_endpoint(kafka: str, tmp_path: Path) -> None:
    with collector_process(kafka, tmp_path, source("default", KEY), environ={"ONEFOLD_MIN_FREE_BYTES": str(1 << 60)}) as process:

        def send() -> httpx.Response:
            return httpx.post(f"{process.url}/v1/track", json={"userId": "ánh", "event": "Đặt hàng"}, auth=(KEY, ""), timeout=10)

        refused = wait_until(send, lambda response: response.status_code == 503)
        assert refused.json()["code"] == "disk_full"
        waits = httpx.get(f"http://127.0.0.1:{process.settings.metrics_port}/ready", timeout=10).json()["waits"]
        assert len(waits) == 1
        assert "free space there" in waits[0]
