"""The demo from its first line to its exit code."""

import asyncio
import base64
import os
import secrets
import shutil
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import HttpUrl
from rich.console import Console
from rich.table import Table

from ops import definitions_topic as definitions
from ops.apply.backfill_history import History
from ops.apply.backfill import Backfill
from demo.verdict import (Verdict, drain, judge, queries, report)
from demo.figures import Figures, look
from demo.screen import Scene, Screen
from demo.customers import ZONE
from demo.webhook_receiver import Receiver, serving
from demo.simulation import Simulation
from demo.traffic import Traffic
from ops.definition_files import check, read
from embedded import control
from embedded.attach import settings_from
from embedded.layout import Layout, write_private
from embedded.leftovers import end_leftovers
from embedded.directory_lock import claim
from embedded.roles import ROLES
from embedded.stack import Stack
from ops.connect import Reached
from profile_store.connect import open_store
from warehouse.client import Warehouse
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Invalid, Misconfigured, Transient
from runtime.lifecycle import signals
from domain.definitions.kinds import Destination

DEFINITIONS: Final = Path(__file__).parent / "definitions"
MARK: Final = "demo"
SECRET: Final = "demo-webhook.secret"  # noqa: S105 - a file's name
_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was given; `seconds` is None for ever."""

    seconds: float | None
    data_dir: Path
    seed: int
    rate: float
    keep: bool


def run(options: Options) -> int:
    """Run the demo; its exit code. Raises OnefoldError when the stack cannot be started."""
    console = Console()
    layout = Layout.of(options.data_dir)
    _ours(layout, keep=options.keep)
    layout.make()
    # The clients of the demo speak to this machine alone, whatever proxy the surroundings name.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    with claim(layout):
        if not options.keep:
            _empty(layout)
        (layout.root / MARK).touch()
        screen = Screen(console)
        stack = Stack(layout, roles=ROLES, say=screen.note)
        console.print(f"Onefold demo in {layout.root}", markup=False, highlight=False, soft_wrap=True)
        console.print("starting Kafka, Redis, ClickHouse and Onefold …")
        stack.set_up()
        return asyncio.run(_run(options, stack, screen))


def _ours(layout: Layout, *, keep: bool) -> None:
    """Nothing but a demo's directory is ever emptied."""
    if keep or not layout.root.exists() or not any(layout.root.iterdir()) or (layout.root / MARK).exists():
        return
    raise Misconfigured(f"{layout.root} is not empty and no demo's directory: pass --keep to use it, or another --data-dir")


def _empty(layout: Layout) -> None:
    end_leftovers(layout.run)
    for path in layout.root.iterdir():
        if path == layout.lock_file:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    layout.make()


async def _run(options: Options, stack: Stack, screen: Screen) -> int:
    stop = asyncio.Event()
    with signals(stop):
        socket = stack.layout.socket("control")
        server = await control.serve(socket, _controlled(stack, stop))
        try:
            if not await _unless(stop, stack.start()):
                return 130
            return await _act(options, stack, screen, stop)
        finally:
            screen.console.print("stopping …")
            await stack.stop()
            server.close()
            socket.unlink(missing_ok=True)


def _controlled(stack: Stack, stop: asyncio.Event) -> control.Handler:
    async def handle(command: str, _name: str) -> Any:
        if command == "status":
            return await stack.status()
        if command == "stop":
            stop.set()
            return None
        raise Invalid("the demo starts and stops its roles itself", path="command")

    return handle


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` ended before `stop` was set; cancelled if not."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        await working
        return True
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return False


async def _act(options: Options, stack: Stack, screen: Screen, stop: asyncio.Event) -> int:
    settings = settings_from(stack.variables)
    secret = _secret(stack.layout.root / SECRET)
    receiver = Receiver(secret, stack.layout.root / "demo-received.txt")
    state = await stack.status()
    warehouse = await Warehouse.connect(settings)
    try:
        async with KafkaBus(settings) as bus, serving(receiver) as url:
            here = Reached(settings, bus, warehouse)
            destination = await _define(here, url)
            _addresses(screen.console, state, url)
            traffic = Traffic(settings, bus, SystemClock(), state["addresses"]["collector"], state["write_keys"]["default"])
            verdict = await _play(options, here, destination, receiver, traffic, screen, stop)
            report(screen.console, verdict, receiver)
            await queries(screen.console, here, str(options.data_dir))
            _farewell(screen.console, options, verdict)
            return 1 if verdict.missing else 0
    finally:
        await warehouse.aclose()


def _secret(path: Path) -> str:
    if not path.exists():
        write_private(path, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    return path.read_text(encoding="ascii").strip()


async def _define(here: Reached, url: str) -> Destination:
    """Make the demo's definitions live, its destination at the receiver's address."""
    wanted = read(DEFINITIONS)
    hook = wanted["Destination/demo-webhook"]
    if not isinstance(hook, Destination):
        raise TypeError("demo-webhook is no Destination")
    hook = hook.model_copy(update={"spec": hook.spec.model_copy(update={"url": HttpUrl(url)})})
    wanted[hook.key] = hook
    check(wanted, await definitions.live(here.settings, here.bus))
    clock = SystemClock()
    store = open_store(here.settings, clock)

    async def reach() -> Warehouse:
        return here.warehouse

    try:
        await Backfill(here.settings, here.bus, store, History(here.settings, here.bus, reach), clock).apply(wanted.values())
    finally:
        await store.aclose()
    return hook


async def _play(
    options: Options, here: Reached, destination: Destination, receiver: Receiver, traffic: Traffic, screen: Screen,
    stop: asyncio.Event,
) -> Verdict:  # fmt: skip
    """The simulation, then the wait for everything to come to rest."""
    clock, started = SystemClock(), time.monotonic()
    before = (await look(here)).account.accepted
    started_ms = clock.now_ms()
    today = datetime.fromtimestamp(started_ms / 1000, tz=ZoneInfo(ZONE)).date()
    simulation = Simulation(options.seed, f"{started_ms // 1000:x}", today)
    last = [started, 0]

    def show(phase: str, figures: Figures | None) -> None:
        now = time.monotonic()
        rate = (traffic.sent - last[1]) / max(now - last[0], 0.001)
        last[:] = [now, traffic.sent]
        screen.show(Scene(phase, now - started, traffic.sent, rate, len(receiver.ids), figures))

    with screen:
        sending = asyncio.create_task(traffic.run(simulation.actions(), options.rate, stop, options.seconds), name="traffic")
        while not sending.done():
            try:
                show("customers come in", await look(here))
            except Transient as error:
                screen.note(str(error))
            await asyncio.wait([sending], timeout=_LOOK_S)
        await sending
        await traffic.flush()
        last_look = await drain(
            here, destination, receiver, before + traffic.sent, lambda figures: show("nobody comes any more, time passes", figures)
        )
    return judge(last_look, before + traffic.sent, traffic.failed)


def _addresses(console: Console, state: dict[str, Any], url: str) -> None:
    table = Table("address", "", title="Onefold is ready", title_justify="left")
    for name, address in {**state["addresses"], "webhook receiver": url}.items():
        scheme, separator, rest = address.rpartition("://")
        table.add_row(name, f"{scheme}{separator}{rest.rpartition('@')[2]}")
    Console(file=console.file, soft_wrap=True).print(table)


def _farewell(console: Console, options: Options, verdict: Verdict) -> None:
    where = options.data_dir
    console.print(
        f"Look around: onefold up --data-dir {where}   (the same addresses)", markup=False, highlight=False, soft_wrap=True
    )
    if not verdict.missing:
        console.print("Every event is accounted for, and every due delivery arrived.", style="green")
        return
    for line in verdict.missing:
        console.print(f"MISSING: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
