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

from demo.customers import TIMEZONE
from demo.figures import Figures, read_figures
from demo.screen import DemoScene, DemoScreen
from demo.simulation import Simulation
from demo.traffic import Traffic
from demo.verdict import DemoVerdict, judge, print_queries, print_report, wait_until_quiet
from demo.webhook_receiver import Receiver, serving
from domain.definitions.kinds import Destination
from embedded import control
from embedded.directory_lock import lock_directory
from embedded.layout import Layout
from embedded.leftovers import end_leftovers
from embedded.roles import ROLES
from embedded.stack import Stack
from ops import definitions_topic
from ops.apply.backfill import Backfill
from ops.apply.backfill_history import BackfillHistory
from ops.cli.terminal import open_console
from ops.connect import Connection
from ops.definition_files import read_definitions, require_consistent
from ops.prepare import prepare
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Invalid, Misconfigured, Transient
from runtime.lifecycle import stop_on_signals
from runtime.private_files import write_private
from runtime.variables import read_settings
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse

DEFINITIONS: Final = Path(__file__).parent / "definitions"
MARKER_FILE: Final = "demo"
SECRET_FILE: Final = "demo-webhook.secret"  # noqa: S105 - a file's name
_REFRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command. `seconds` is None for a demo without an end."""

    seconds: float | None
    data_dir: Path
    seed: int
    rate: float
    keep_data: bool


def run(options: DemoOptions) -> int:
    """Run the demo, and return its exit code. Raises OnefoldError when the stack cannot be started."""
    console = open_console()
    layout = Layout.of(options.data_dir)
    _require_demo_directory(layout, keep_data=options.keep_data)
    layout.create_directories()
    # The clients of the demo speak to this machine alone, whatever proxy the surroundings name.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    with lock_directory(layout):
        if not options.keep_data:
            _empty_directory(layout)
        (layout.root / MARKER_FILE).touch()
        screen = DemoScreen(console)
        stack = Stack(layout, roles=ROLES, prepare=prepare, notify=screen.note)
        console.print(f"Onefold demo in {layout.root}", markup=False, highlight=False, soft_wrap=True)
        console.print("starting Kafka, Redis, ClickHouse and Onefold …")
        stack.set_up()
        return asyncio.run(_run(options, stack, screen))


def _require_demo_directory(layout: Layout, *, keep_data: bool) -> None:
    """Raise Misconfigured for a directory that is not a demo's and not empty, because a demo begins by emptying its directory."""
    if keep_data or not layout.root.exists() or not any(layout.root.iterdir()) or (layout.root / MARKER_FILE).exists():
        return
    raise Misconfigured(f"{layout.root} is not empty and no demo's directory: pass --keep to use it, or another --data-dir")


def _empty_directory(layout: Layout) -> None:
    end_leftovers(layout.run)
    for path in layout.root.iterdir():
        if path == layout.lock_file:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    layout.create_directories()


async def _run(options: DemoOptions, stack: Stack, screen: DemoScreen) -> int:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        socket = stack.layout.socket("control")
        server = await control.serve(socket, _command_handler(stack, stop))
        try:
            if not await _run_unless_stopped(stop, stack.start()):
                return 130
            return await _run_demo(options, stack, screen, stop)
        finally:
            screen.console.print("stopping …")
            await stack.stop()
            server.close()
            socket.unlink(missing_ok=True)


def _command_handler(stack: Stack, stop: asyncio.Event) -> control.CommandHandler:
    async def handle(command: str, _name: str) -> Any:
        if command == "status":
            return await stack.status()
        if command == "stop":
            stop.set()
            return None
        raise Invalid("the demo starts and stops its roles itself", path="command")

    return handle


async def _run_unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Return whether `work` ended before `stop` was set. Otherwise `work` is cancelled."""
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


async def _run_demo(options: DemoOptions, stack: Stack, screen: DemoScreen, stop: asyncio.Event) -> int:
    settings = read_settings(stack.variables)
    secret = _secret(stack.layout.root / SECRET_FILE)
    receiver = Receiver(secret, stack.layout.root / "demo-received.txt")
    state = await stack.status()
    warehouse = await Warehouse.connect(settings)
    try:
        read_adopted = AdoptedLogTable(warehouse).adopted_log
        async with KafkaBus(settings, read_adopted=read_adopted) as bus, serving(receiver) as url:
            connection = Connection(settings, bus, warehouse)
            destination = await _apply_definitions(connection, url)
            _print_addresses(screen.console, state, url)
            traffic = Traffic(settings, bus, SystemClock(), state["addresses"]["collector"], state["write_keys"]["default"])
            verdict = await _run_simulation(options, connection, destination, receiver, traffic, screen, stop)
            print_report(screen.console, verdict, receiver)
            await print_queries(screen.console, connection, str(options.data_dir))
            _print_ending(screen.console, options, verdict)
            return 1 if verdict.missing else 0
    finally:
        await warehouse.aclose()


def _secret(path: Path) -> str:
    if not path.exists():
        write_private(path, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    return path.read_text(encoding="ascii").strip()


async def _apply_definitions(connection: Connection, url: str) -> Destination:
    """Make the demo's definitions live, its destination at the receiver's address."""
    requested = read_definitions(DEFINITIONS)
    webhook = requested["Destination/demo-webhook"]
    if not isinstance(webhook, Destination):
        raise TypeError("demo-webhook is no Destination")
    webhook = webhook.model_copy(update={"spec": webhook.spec.model_copy(update={"url": HttpUrl(url)})})
    requested[webhook.key] = webhook
    require_consistent(requested, await definitions_topic.read_live(connection.settings, connection.bus))
    clock = SystemClock()
    store = open_store(connection.settings, clock)

    async def get_warehouse() -> Warehouse:
        return connection.warehouse

    try:
        await Backfill(
            connection.settings, connection.bus, store, BackfillHistory(connection.settings, connection.bus, get_warehouse), clock
        ).apply(requested.values())
    finally:
        await store.aclose()
    return webhook


async def _run_simulation(
    options: DemoOptions,
    connection: Connection,
    destination: Destination,
    receiver: Receiver,
    traffic: Traffic,
    screen: DemoScreen,
    stop: asyncio.Event,
) -> DemoVerdict:
    """Simulate customers, then wait until every event is processed and every due message has arrived."""
    clock, started = SystemClock(), time.monotonic()
    accepted_before = (await read_figures(connection)).account.accepted
    started_ms = clock.now_ms()
    today = datetime.fromtimestamp(started_ms / 1000, tz=ZoneInfo(TIMEZONE)).date()
    simulation = Simulation(options.seed, f"{started_ms // 1000:x}", today)
    latest_sample = [started, 0]

    def show_scene(phase: str, figures: Figures | None) -> None:
        now_s = time.monotonic()
        rate = (traffic.sent - latest_sample[1]) / max(now_s - latest_sample[0], 0.001)
        latest_sample[:] = [now_s, traffic.sent]
        screen.show(DemoScene(phase, now_s - started, traffic.sent, rate, len(receiver.ids), figures))

    with screen:
        sending = asyncio.create_task(traffic.run(simulation.actions(), options.rate, stop, options.seconds), name="traffic")
        while not sending.done():
            try:
                show_scene("customers come in", await read_figures(connection))
            except Transient as error:
                screen.note(str(error))
            await asyncio.wait([sending], timeout=_REFRESH_S)
        await sending
        await traffic.flush()
        final_observation = await wait_until_quiet(
            connection,
            destination,
            receiver,
            accepted_before + traffic.sent,
            lambda figures: show_scene("nobody comes any more, time passes", figures),
        )
    return judge(final_observation, accepted_before + traffic.sent, traffic.failed)


def _print_addresses(console: Console, state: dict[str, Any], url: str) -> None:
    table = Table("address", "", title="Onefold is ready", title_justify="left")
    for name, address in {**state["addresses"], "webhook receiver": url}.items():
        scheme, separator, rest = address.rpartition("://")
        table.add_row(name, f"{scheme}{separator}{rest.rpartition('@')[2]}")
    console.print(table, soft_wrap=True)


def _print_ending(console: Console, options: DemoOptions, verdict: DemoVerdict) -> None:
    data_dir = options.data_dir
    console.print(
        f"Look around: onefold up --data-dir {data_dir}   (the same addresses)", markup=False, highlight=False, soft_wrap=True
    )
    if not verdict.missing:
        console.print("Every event is accounted for, and every due delivery arrived.", style="green")
        return
    for line in verdict.missing:
        console.print(f"MISSING: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
