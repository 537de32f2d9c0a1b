"""`python -m streams`: the stream agents, all of them or those named, in one process."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import OnefoldError
from runtime.health import HealthServer
from runtime.lifecycle import load_settings
from runtime.logs import configure, get_logger
from runtime.settings import Settings
from streams import metrics
from streams.process import HostedStep, StepDependencies, StreamProcess
from streams.steps.accept import AcceptStep
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep

SWITCH_INTERVAL_S: Final = 0.0005
"""Each Faust consumer has a thread: at the default 5 ms the event loop would wait that long for the interpreter each time."""
AGENTS: Final = ("accept", "unify", "link", "segment", "group")


def build_steps(dependencies: StepDependencies, names: Sequence[str]) -> list[HostedStep]:
    """The steps of these agents."""
    settings, store, definitions = dependencies.settings, dependencies.store, dependencies.definitions
    definition_getters = (lambda: definitions.plan, lambda: definitions.rules, lambda: definitions.next_offset)
    factories = {
        "accept": lambda: HostedStep(
            AcceptStep(
                settings,
                lambda: {s.metadata.name for s in definitions.sources if s.spec.topic_ingress},
                definitions.admission.admit,
            ),
            stateful=False,
        ),
        "unify": lambda: HostedStep(UnifyStep(settings, store, *definition_getters)),
        "link": lambda: HostedStep(LinkStep(settings, store, lambda: definitions.rules)),
        "segment": lambda: HostedStep(SegmentStep(settings, store, *definition_getters)),
        "group": lambda: HostedStep(GroupStep(settings, store, *definition_getters)),
    }
    return [factories[name]() for name in names]


async def run(settings: Settings, names: Sequence[str]) -> int:
    """Until a signal, or a fault that needs a new start; the exit status."""
    clock = SystemClock()
    store = open_store(settings, clock)
    try:
        async with KafkaBus(settings) as bus:
            process = StreamProcess(settings, bus=bus, store=store, clock=clock)
            async with HealthServer(settings, metrics.METRICS, {"agents": process.ready}):
                return int(await process.run(lambda dependencies: build_steps(dependencies, names)))
    finally:
        await store.aclose()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and the settings, then run."""
    parser = argparse.ArgumentParser(prog="python -m streams", description=__doc__)
    parser.add_argument("--agents", default=",".join(AGENTS), help=f"comma separated, of {', '.join(AGENTS)}")
    names = [name.strip() for name in parser.parse_args(argv).agents.split(",") if name.strip()]
    if unknown := set(names) - set(AGENTS):
        parser.error(f"no such agent: {', '.join(sorted(unknown))}")
    try:
        settings = load_settings()
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
