"""`python -m streams`: all stream agents, or those that `--agents` names, in one process."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from domain.text_caches import limit_caches
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import OnefoldError
from runtime.health import HealthServer
from runtime.logs import configure, get_logger
from runtime.settings import Settings
from runtime.variables import read_settings
from streams import metrics
from streams.agents import AGENTS, build_agents
from streams.process import StreamProcess

SWITCH_INTERVAL_S: Final = 0.0005
"""Each Faust consumer has a thread: at the default of 5 ms the event loop would wait that long for the interpreter each time."""


async def run(settings: Settings, names: Sequence[str]) -> int:
    """Run the named agents until a signal, or until a fault that needs a new process. Returns the exit status."""
    clock = SystemClock()
    limit_caches(settings.cache_bytes)
    metrics.METRICS.refresh_by(metrics.show_caches)
    store = open_store(settings, clock)
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus:
            process = StreamProcess(settings, bus=bus, store=store, clock=clock)
            async with HealthServer(settings, metrics.METRICS, {"agents": process.ready}, bus.waits):
                return int(await process.run(lambda dependencies: build_agents(dependencies, names)))
    finally:
        await store.aclose()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and the settings, run the agents, and exit with the status that tells why they ended."""
    parser = argparse.ArgumentParser(prog="python -m streams", description=__doc__)
    parser.add_argument("--agents", default=",".join(AGENTS), help=f"agents to run, separated by commas, of {', '.join(AGENTS)}")
    names = [name.strip() for name in parser.parse_args(argv).agents.split(",") if name.strip()]
    if unknown := set(names) - set(AGENTS):
        parser.error(f"no such agent: {', '.join(sorted(unknown))}")
    try:
        settings = read_settings()
    except OnefoldError as error:
        sys.exit(f"onefold streams: {error}")
    configure(settings, "streams")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        code = uvloop.run(run(settings, names))
    except OnefoldError as error:
        get_logger(__name__).error("failed", error=str(error), kind=type(error).__name__)
        code = 1
    sys.exit(code)
