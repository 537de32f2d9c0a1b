"""Real services for tests, as child processes of pytest that end with it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded import redis
from embedded.child_process import ChildSpec, tie_to
from embedded.class_archive import ClassArchive
from embedded.java import find_java
from embedded.kafka import Kafka
from embedded.kafka_jars import cache_dir, kafka_jars
from embedded.layout import Layout
from tests.support.polling import eventually
from tests.support.ports import free_port


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
    """Return how to start a Redis server in `directory`, and its URL (TCP)."""
    layout, port = _layout(directory), port or free_port()
    argv = redis.argv(redis.server_binary(), layout, port)
    spec = ChildSpec("redis", argv, lambda: redis.is_ready(port), layout.logs / "redis.log", start_timeout_s=30)
    return spec, f"redis://127.0.0.1:{port}/0"


def kafka_spec(directory: Path) -> tuple[ChildSpec, str]:
    """Return how to start a Kafka broker in `directory`, and its bootstrap address; it does not create topics automatically."""
    layout = _layout(directory)
    broker = Kafka(find_java(), kafka_jars(), layout, free_port(), free_port())
    broker.prepare()
    argv = broker.argv(*ClassArchive(broker, cache_dir()).flags())
    spec = ChildSpec("kafka", argv, broker.is_ready, layout.logs / "kafka.out.log", broker.env(), (layout.logs / "kafka.log",))
    return spec, f"127.0.0.1:{broker.port}"


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
        return spec.is_ready()

    try:
        eventually(is_ready, within_s=spec.start_timeout_s, every_s=0.02, explain=lambda: f"{spec.name}: {spec.tail()}")
    except AssertionError:
        process.kill()
        process.wait()
        raise
