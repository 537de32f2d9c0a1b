"""Apache Kafka as one KRaft node: its properties, its directory, its command line, and whether it is ready."""

import asyncio
import base64
import os
import secrets
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedded import kafka_access
from embedded.child_process import tie_to
from embedded.java import Java
from embedded.layout import Layout, explain_write_errors
from runtime.errors import Misconfigured
from runtime.private_files import write_private
from runtime.variables import read_settings

_LOG4J = Path(__file__).with_name("log4j2.properties")
_FLAGS = (
    "-Xmx256m", "-Xms16m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=64m",
    "-XX:ReservedCodeCacheSize=48m", "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=30", "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
)  # fmt: skip
# A session timeout of 3 s is what a restart after kill -9 waits for; a small deduplication buffer is half of the idle memory.
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENTS://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENTS://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={logs}
num.partitions=4
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.retention.minutes=525600
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
group.coordinator.threads=1
share.coordinator.threads=1
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
log.cleaner.backoff.ms=5000
log.cleaner.min.cleanable.ratio=0.2
log.retention.hours=-1
log.segment.bytes=134217728
log.roll.hours=24
offsets.topic.segment.bytes=16777216
transaction.state.log.segment.bytes=16777216
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
socket.request.max.bytes=16777216
compression.type=producer
connections.max.idle.ms=3600000
{access}"""


@dataclass(frozen=True, slots=True)
class Kafka:
    """One broker: a Java, the jars, a layout, two loopback ports and the password of its user."""

    java: Java
    jars: Sequence[Path]
    layout: Layout
    port: int
    controller_port: int
    password: str = field(repr=False)

    @property
    def properties_file(self) -> Path:
        return self.layout.kafka / "server.properties"

    @property
    def is_formatted(self) -> bool:
        return (self.layout.kafka / "data" / "meta.properties").exists()

    def prepare(self) -> None:
        """Write the properties of broker and clients, and format the log directory once. Raises Misconfigured when it fails."""
        with explain_write_errors(self.layout.kafka, "free space there or make it writable"):
            logs = self.layout.kafka / "data"
            if not self.is_formatted:
                self._format(logs)
            write_private(self.properties_file, self._properties(logs))
            write_private(
                kafka_access.client_properties_file(self.layout), kafka_access.client_properties(self.port, self.password)
            )

    def _properties(self, logs: Path) -> str:
        return properties(logs, self.port, self.controller_port, kafka_access.listener_properties(self.password))

    def _format(self, logs: Path) -> None:
        """Format beside, then rename: a run that is killed in between leaves no half-made directory."""
        draft, draft_properties = self.layout.kafka / "data.new", self.layout.kafka / "format.properties"
        arguments_file = self.layout.kafka / "format.arguments"
        if logs.exists():
            raise Misconfigured(
                f"{logs} is there but lacks meta.properties: restore that file, or move the directory away to start empty"
            )
        shutil.rmtree(draft, ignore_errors=True)
        write_private(draft_properties, self._properties(draft))
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
        cluster_id = cluster_id if cluster_id[0] != "-" else f"A{cluster_id[1:]}"  # else it reads as an option
        tool = (
            "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(draft_properties),
            "--add-scram", kafka_access.scram_credentials(self.password),
        )  # fmt: skip
        # In a file, because every user of the machine can read the command line of a process.
        write_private(arguments_file, "\n".join(_quoted(argument) for argument in tool))
        completed = subprocess.run(
            [*self.jvm(), f"@{arguments_file}"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env=self.env(), preexec_fn=tie_to(os.getpid()),
        )  # fmt: skip
        if completed.returncode != 0:
            output_lines = (completed.stderr + completed.stdout).strip().splitlines()
            raise Misconfigured(
                f"Kafka's directory {logs} could not be formatted: "
                f"{output_lines[-1] if output_lines else f'exit {completed.returncode}'}"
            )
        draft.rename(logs)
        draft_properties.unlink()
        arguments_file.unlink()

    def flags(self) -> list[str]:
        """Return the JVM's flags; the same ones must be given when a class archive is made and when it is used."""
        unsafe = ["--sun-misc-unsafe-memory-access=allow"] if self.java.major >= 24 else []  # Java 23 and older refuse it
        return [*_FLAGS, *unsafe]

    def env(self) -> dict[str, str]:
        """Return this process's environment with a locale in which Java can name every file."""
        return {**os.environ, "LC_ALL": "C.UTF-8"}

    def classpath(self) -> str:
        return ":".join(str(jar) for jar in self.jars)

    def jvm(self, *extra_flags: str) -> list[str]:
        """Return the command line up to the class to run."""
        logging = (f"-Dlog4j2.configurationFile={_LOG4J}", "-Dlog4j2.disable.jmx=true", f"-Donefold.logdir={self.layout.logs}")
        return [str(self.java.path), *self.flags(), *logging, *extra_flags, "-cp", self.classpath()]

    def argv(self, *extra_flags: str) -> list[str]:
        """Return the broker's command line; `extra_flags` are further JVM flags."""
        return [*self.jvm(*extra_flags), "kafka.Kafka", str(self.properties_file)]

    def is_ready(self, timeout_s: float = 2.0) -> bool:
        """Return whether the broker lets its user in, and lists itself and a controller."""
        # The driver is loaded where a broker runs, and not by `onefold status`.
        from runtime.bus.kafka_connection import client_options, is_serving

        settings = read_settings({"ONEFOLD_MODE": "embedded", **kafka_access.client_variables(self.port, self.password)})
        return asyncio.run(is_serving(client_options(settings), timeout_s))


def properties(logs: Path, broker: int, controller: int, access: str) -> str:
    """Return the text of server.properties; `access` are the lines of its listeners."""
    # Java reads these files as Latin-1
    escaped = "".join(f"\\u{unit:04x}" if unit > 126 or unit == 92 else chr(unit) for unit in _utf16_units(str(logs)))
    return _PROPERTIES.format(logs=escaped, broker=broker, controller=controller, access=access)


def _utf16_units(text: str) -> tuple[int, ...]:
    encoded = text.encode("utf-16-be")
    return struct.unpack(f">{len(encoded) // 2}H", encoded)


def _quoted(argument: str) -> str:
    """Return a word of a file of arguments for the `java` command."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
