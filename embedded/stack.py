"""The stack as a whole: stores, then topics and tables, then Onefold's roles; stopped in the reverse order."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from embedded import ports as port_book
from embedded import redis, secrets
from embedded.child_process import LIVENESS_TIMEOUT_S, ChildSpec
from embedded.class_archive import ClassArchive
from embedded.clickhouse.environment import needed_variables
from embedded.java import find_java
from embedded.kafka import Kafka
from embedded.kafka_jars import cache_dir, kafka_jars
from embedded.layout import Layout, explain_write_errors
from embedded.leftovers import end_leftovers
from embedded.roles import PORT_NAMES, Role, addresses, answers_ok, environment, kafka_login, read_waits, refuses_key, role_spec
from embedded.supervisor import Child, Notify, trim_log
from runtime.clock import SystemClock
from runtime.errors import AnotherLog, Invalid, Misconfigured, Transient
from runtime.private_files import write_private
from runtime.settings import Settings
from runtime.variables import check_environment, read_settings

STORES = ("redis", "clickhouse", "kafka")
_BLOCKED_POLL_S = 2.0
Prepare = Callable[[Settings], Awaitable[object]]
"""Creates in the running stores what the roles expect to find: topics, tables, the first definitions. Its result is ignored."""


class Stack:
    """Everything of one data directory, which the caller has claimed. `set_up` once, then `start`, then always `stop`."""

    def __init__(
        self,
        layout: Layout,
        *,
        stores: Sequence[str] = STORES,
        roles: Sequence[Role] = (),
        prepare: Prepare | None,
        notify: Notify = print,
    ) -> None:
        self.layout = layout
        self._stores, self._roles, self._prepare, self._notify = stores, roles, prepare, notify
        self._children: dict[str, Child] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._class_archive: ClassArchive | None = None
        self._started = False
        self._blocked = ""
        self.ports: dict[str, int] = {}
        self.secrets: secrets.Secrets

    @property
    def variables(self) -> dict[str, str]:
        """The ONEFOLD_* variables that reach this stack."""
        return environment(self.layout, self.ports, self.secrets)

    def set_up(self) -> None:
        """Choose ports and secrets, fetch what is missing, format Kafka; blocks, starts nothing. Raises Misconfigured."""
        check_environment()
        layout = self.layout
        layout.create_directories()
        end_leftovers(layout.run)
        with explain_write_errors(layout.root, "free space there or make it writable"):
            names = (*PORT_NAMES, *(role.port_name for role in self._roles))
            fixed = {name: os.environ.get(f"ONEFOLD_{name.upper()}_PORT", "") for name in ("collector", "api")}
            self.ports = port_book.allocate_ports(
                layout.run / "ports.json", names, {name: int(text) for name, text in fixed.items() if text and int(text)}
            )
            self.secrets = secrets.load_or_create(layout)
            secrets.give_first_token(layout, self.secrets, SystemClock().now_ms())
            specs = [getattr(self, f"_{store}")() for store in self._stores]
        specs += [role_spec(role, layout, self.ports, self.variables) for role in self._roles]
        self._children = {item.name: Child(item, layout.run / f"{item.name}.pid", self._notify) for item in specs}

    async def start(self) -> None:
        """Start everything and return when all of it is ready. Raises OnefoldError when something does not come up: then `stop`."""
        self._tasks.append(asyncio.create_task(self._trim_logs(), name="trim logs"))
        self._notify(f"starting {', '.join(self._stores)}")
        await _start_all(self._children[name].start() for name in self._stores)
        if self._prepare is not None:
            self._notify("making topics, tables and the sources")
            await self._prepare_until_adopted(self._prepare)
        if self._roles:
            self._notify(f"starting {', '.join(role.name for role in self._roles)}")
        await _start_all(self._children[role.name].start() for role in self._roles)
        self._started = True
        if self._class_archive is not None:
            self._tasks.append(asyncio.create_task(self._class_archive.build(), name="class archive"))

    async def _prepare_until_adopted(self, prepare: Prepare) -> None:
        """Prepare the stores. While Kafka has another log than the one that they belong to, wait for the operator's decision."""
        while True:
            try:
                await prepare(read_settings(self.variables))
            except AnotherLog as error:
                if not self._blocked:
                    self._notify(f"waiting: {error}")
                self._blocked = str(error)
                await asyncio.sleep(_BLOCKED_POLL_S)
            else:
                self._blocked = ""
                return

    async def stop(self) -> None:
        """Stop the roles, then the stores. Harmless when not everything had started."""
        self._started = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stores = [child for name, child in self._children.items() if name in self._stores]
        roles = [child for name, child in self._children.items() if name not in self._stores]
        for stage in (roles, stores):
            await asyncio.gather(*(child.stop() for child in stage))

    async def status(self) -> dict[str, Any]:
        """Ask every child whether it is ready, and return what `onefold status --json` prints."""
        children = list(self._children.values())
        readiness = await asyncio.gather(*(child.is_ready() for child in children))
        waits = [sentence for role in self._roles for sentence in await asyncio.to_thread(read_waits, self.ports[role.port_name])]
        write_keys = {"default": self.secrets.write_key, "server": self.secrets.server_write_key}
        for source, write_key in list(write_keys.items()):
            if await asyncio.to_thread(refuses_key, self.ports["collector"], write_key):
                del write_keys[source]
                waits.append(
                    f"the source {source} no longer has this stack's own write key: `onefold down` and `up` add it again, or apply "
                    "the source with the keys that it should have"
                )
        return {
            "ready": self._started and all(readiness),
            "addresses": addresses(self.ports, self.secrets),
            "write_keys": write_keys,
            "blocked": self._blocked,
            "waits": [self._blocked, *waits] if self._blocked else list(dict.fromkeys(waits)),
            "kafka_login": kafka_login(self.layout, self.secrets),
            "redis_login": {"socket": str(self.layout.socket("redis")), "password": self.secrets.redis_password},
            "api_token": secrets.api_token_in_force(self.layout, self.secrets),
            "roles": [
                {"name": child.name, "pid": child.pid, "ready": ready, "restarts": child.restarts}
                for child, ready in zip(children, readiness, strict=True)
            ],
        }

    async def stop_role(self, name: str) -> None:
        """Stop one child and leave it stopped. Raises Invalid for an unknown name."""
        await self._child(name).stop()

    async def start_role(self, name: str) -> None:
        """Start one stopped child, ready on return. Raises Invalid for an unknown name, ChildFailed when it does not come up."""
        await self._child(name).start()

    def _child(self, name: str) -> Child:
        if not self._started:
            raise Transient("the stack is starting or stopping: try again when `onefold status` says that it is ready")
        if name not in self._children:
            raise Invalid(f"no role {name}: choose among {', '.join(self._children)}", path="name")
        return self._children[name]

    def _redis(self) -> ChildSpec:
        socket, password = self.layout.socket("redis"), self.secrets.redis_password
        redis.write_login(self.layout, password)
        argv = redis.argv(redis.server_binary(), self.layout, self.ports["redis"])
        return ChildSpec(
            "redis",
            argv,
            is_ready=lambda: redis.is_ready(socket, password),
            is_alive=lambda: redis.is_ready(socket, password, LIVENESS_TIMEOUT_S),
            log=self.layout.logs / "redis.log",
        )

    def _clickhouse(self) -> ChildSpec:
        if find_spec("chdb") is None:  # the child would end with an import error in its log
            raise Misconfigured("no ClickHouse engine: `pip install 'onefold[embedded]'`, or run servers of your own")
        port, users = self.ports["clickhouse"], self.layout.run / "clickhouse-users.json"
        write_private(users, self.secrets.clickhouse_users())
        argv = [
            sys.executable, "-P", "-m", "embedded.clickhouse",
            "--path", str(self.layout.clickhouse), "--port", str(port), "--users-file", str(users),
        ]  # fmt: skip
        return ChildSpec(
            "clickhouse",
            argv,
            is_ready=lambda: answers_ok(port, "/ping"),
            is_alive=lambda: answers_ok(port, "/ping", LIVENESS_TIMEOUT_S),
            log=self.layout.logs / "clickhouse.log",
            env=needed_variables(os.environ),
        )

    def _kafka(self) -> ChildSpec:
        kafka = Kafka(
            find_java(),
            kafka_jars(notify=self._notify),
            self.layout,
            self.ports["kafka"],
            self.ports["controller"],
            self.secrets.kafka_password,
        )
        if not kafka.is_formatted:
            self._notify("formatting Kafka's directory")
        kafka.prepare()
        self._class_archive = ClassArchive(kafka, cache_dir())
        own_log = self.layout.logs / "kafka.log"  # written and bounded by log4j
        argv, output_log = kafka.argv(*self._class_archive.flags()), self.layout.logs / "kafka.out.log"
        return ChildSpec(
            "kafka",
            argv,
            is_ready=kafka.is_ready,
            is_alive=lambda: kafka.is_ready(LIVENESS_TIMEOUT_S),
            log=output_log,
            env=kafka.env(),
            extra_logs=(own_log,),
        )

    async def _trim_logs(self) -> None:
        while True:
            for child in self._children.values():
                trim_log(child.spec.log)
            trim_log(self.layout.logs / "up.log")
            await asyncio.sleep(5)


async def _start_all(starts: Iterable[Awaitable[None]]) -> None:
    """Await all. At the first failure, cancel the others and raise its error."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
