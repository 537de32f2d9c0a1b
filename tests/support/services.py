"""Real services for tests, as child processes of pytest that end with it."""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from embedded import redis
from embedded.child_process import ChildSpec, tie_to
from embedded.class_archive import ClassArchive
from embedded.java import find_java
from embedded.kafka import Kafka
from embedded.kafka_jars import cache_dir, kafka_jars
from embedded.layout import Layout
from runtime.bus.kafka_connection import client_options, is_serving
from runtime.settings import Settings
from tests.support.polling import eventually
from tests.support.ports import free_port

KAFKA_PASSWORD: Final = "kafka-test-password"
REDIS_PASSWORD: Final = "redis-test-password"


@dataclass
class ServiceProcess:
    """A running service; tests of its failure call `kill` and `start`."""

    spec: ChildSpec
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it at once, without a chance to tidy up (kill -9)."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        try:
            self.process.wait(self.spec.grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def start(self) -> None:
        """Start it again on the same directory and ports, and wait until it is ready."""
        self.process = _spawn(self.spec)
        _wait_until_ready(self.spec, self.process)


@contextmanager
def running_service(spec: ChildSpec) -> Iterator[ServiceProcess]:
    """Start `spec` as a child process, yield it when it is ready, and stop it at the end."""
    process = _spawn(spec)
    service = ServiceProcess(spec, process)
    try:
        _wait_until_ready(spec, process)
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def redis_spec(directory: Path, port: int | None = None) -> tuple[ChildSpec, str]:
    """Return how to start a Redis server in `directory`, and its URL (TCP) with its password."""
    layout, port = _layout(directory), port or free_port()
    redis.write_login(layout, REDIS_PASSWORD)
    argv, socket = redis.argv(redis.server_binary(), layout, port), layout.socket("redis")
    spec = ChildSpec("redis", argv, lambda: redis.is_ready(socket, REDIS_PASSWORD), layout.logs / "redis.log", start_timeout_s=30)
    return spec, redis.address(port, REDIS_PASSWORD)


def kafka_spec(directory: Path) -> tuple[ChildSpec, str]:
    """Return how to start a Kafka broker in `directory`, and its bootstrap address; it does not create topics automatically.

    Its clients need no login, unlike those of `onefold up`.
    """
    broker = broker_in(directory)
    return broker_spec(broker, {"listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT"}), _address(broker)


def broker_in(directory: Path) -> Kafka:
    """Return the broker of `onefold up` in this directory, prepared to start."""
    broker = Kafka(find_java(), kafka_jars(), _layout(directory), free_port(), free_port(), KAFKA_PASSWORD)
    broker.prepare()
    return broker


def broker_spec(broker: Kafka, properties: Mapping[str, str], *flags: str) -> ChildSpec:
    """Return how to start a prepared broker with these properties in place of its own; it is ready when it accepts its user.

    `flags` are further ones of its JVM.
    """
    with broker.properties_file.open("a", encoding="latin-1") as lines:  # of a property that comes twice, Java takes the last
        lines.writelines(f"{name}={value}\n" for name, value in properties.items())
    has_login = "CLIENTS:PLAINTEXT" not in properties.get("listener.security.protocol.map", "")
    layout, argv = broker.layout, broker.argv(*ClassArchive(broker, cache_dir()).flags(), *flags)
    is_ready = broker.is_ready if has_login else partial(_is_open, broker)
    return ChildSpec("kafka", argv, is_ready, layout.logs / "kafka.out.log", broker.env(), (layout.logs / "kafka.log",))


def _is_open(broker: Kafka) -> bool:
    return asyncio.run(is_serving(client_options(Settings(kafka_bootstrap=_address(broker))), timeout_s=2))


def _address(broker: Kafka) -> str:
    return f"127.0.0.1:{broker.port}"


def _layout(directory: Path) -> Layout:
    layout = Layout.of(directory)
    layout.create_directories()
    return layout


def _spawn(spec: ChildSpec) -> subprocess.Popen[bytes]:
    with spec.log.open("ab") as out:
        return subprocess.Popen(
            list(spec.argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=spec.env, preexec_fn=tie_to(os.getpid())
        )


def _wait_until_ready(spec: ChildSpec, process: subprocess.Popen[bytes]) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, f"{spec.name} ended with {process.returncode}:\n{spec.tail()}"
        return pool.submit(spec.is_ready).result()  # in a thread, as it is called in production: it runs a loop of its own

    try:
        with ThreadPoolExecutor(1) as pool:
            eventually(is_ready, within_s=spec.start_timeout_s, every_s=0.02, explain=lambda: f"{spec.name}: {spec.tail()}")
    except AssertionError:
        process.kill()
        process.wait()
        raise
