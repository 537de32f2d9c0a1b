"""A Redis Cluster of three primaries, as child processes of pytest that end with it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from embedded import redis
from embedded.child_process import ChildSpec
from embedded.ports import allocate_ports
from tests.support.polling import eventually
from tests.support.services import ServiceProcess, running_service

PRIMARIES: Final = 3
SLOTS: Final = 16_384
JOIN_S: Final = 30
NODE_TIMEOUT_MS: Final = 2_000


@dataclass(frozen=True)
class ClusterProcesses:
    """The primaries in the order of their slots, and the address under which Onefold connects to them."""

    nodes: tuple[ServiceProcess, ...]
    ports: tuple[int, ...]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def wait_until_whole(self) -> None:
        """Wait until every primary reports that all slots are served."""
        eventually(
            lambda: [_is_whole(port) for port in self.ports],
            all,
            JOIN_S,
            every_s=0.02,
            explain=lambda: "the primaries do not agree on a whole cluster",
        )

    def begin_slot_move(self, *keys: str) -> dict[int, int]:
        """Begin to move the slots of these keys to the next primary, and move these keys; returns slots by their new primary."""
        ids = [str(_execute(port, "CLUSTER MYID").decode()) for port in self.ports]
        slots = {key: int(_execute(self.ports[0], "CLUSTER KEYSLOT", key)) for key in keys}
        moved: dict[int, int] = {}
        for slot in set(slots.values()):
            old = next(n for n in range(PRIMARIES) if slot < (n + 1) * SLOTS // PRIMARIES)
            moved[slot] = (old + 1) % PRIMARIES
            _execute(self.ports[moved[slot]], "CLUSTER SETSLOT", slot, "IMPORTING", ids[old])
            _execute(self.ports[old], "CLUSTER SETSLOT", slot, "MIGRATING", ids[moved[slot]])
            self._migrate(old, moved[slot], [key for key in keys if slots[key] == slot])
        return moved

    def finish_slot_move(self, moved: dict[int, int]) -> None:
        """Move the rest of these slots, and have everyone know their new primaries."""
        ids = [str(_execute(port, "CLUSTER MYID").decode()) for port in self.ports]
        for slot, new in moved.items():
            old = (new - 1) % PRIMARIES
            rest = _execute(self.ports[old], "CLUSTER GETKEYSINSLOT", slot, 1000)
            self._migrate(old, new, rest)
            for number in (new, old, *range(PRIMARIES)):
                _execute(self.ports[number], "CLUSTER SETSLOT", slot, "NODE", ids[new])

    def _migrate(self, old: int, new: int, keys: list[str]) -> None:
        if keys:
            _execute(self.ports[old], "MIGRATE", "127.0.0.1", self.ports[new], "", 0, 5000, "KEYS", *keys)


@contextmanager
def cluster_running(directory: Path) -> Iterator[ClusterProcesses]:
    """Start three joined primaries without replicas, yield them, and stop them at the end."""
    names = [f"{kind}{number}" for number in range(PRIMARIES) for kind in ("port", "bus")]
    ports = allocate_ports(directory / "ports.json", names)
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running_service(_spec(directory / str(number), ports[f"port{number}"], ports[f"bus{number}"])))
            for number in range(PRIMARIES)
        ]
        cluster = ClusterProcesses(tuple(nodes), tuple(ports[f"port{number}"] for number in range(PRIMARIES)))
        for number, port in enumerate(cluster.ports):
            first_slot, last_slot = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES - 1
            _execute(port, "CLUSTER ADDSLOTSRANGE", first_slot, last_slot)
            _execute(port, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number in range(1, PRIMARIES):
            _execute(cluster.ports[0], "CLUSTER MEET", "127.0.0.1", cluster.ports[number], ports[f"bus{number}"])
        cluster.wait_until_whole()
        yield cluster


def _spec(directory: Path, port: int, bus: int) -> ChildSpec:
    directory.mkdir(parents=True)
    argv = (
        str(redis.server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory),
        "--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-config-file", "nodes.conf",
        "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
    )  # fmt: skip
    return ChildSpec(f"redis {port}", argv, lambda: _answers(port), directory / "redis.log", start_timeout_s=30)


def _answers(port: int) -> bool:
    try:
        return bool(_execute(port, "PING"))
    except (RedisError, OSError):
        return False


def _is_whole(port: int) -> bool:
    try:
        info = _execute(port, "CLUSTER INFO")
    except (RedisError, OSError):
        return False
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(PRIMARIES))


def _execute(port: int, *command: str | int) -> Any:
    with Redis(port=port, protocol=2, socket_timeout=5) as client:
        return client.execute_command(*command)
