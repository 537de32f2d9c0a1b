"""The register of agents. Each one is declared here, once: what its step is built of, and the tasks that run beside it."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from domain.definitions.admission_rules import touchpoint_sources
from streams import metrics
from streams.definitions import readable_rules
from streams.hosting import AgentResources, HostedStep, StepDependencies
from streams.reclustering import Reclusterer
from streams.steps.accept import AcceptStep
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from streams.timers import Timers


def _host_accept(dependencies: StepDependencies) -> HostedStep:
    definitions = dependencies.definitions
    step = AcceptStep(
        dependencies.settings,
        sources=lambda: touchpoint_sources(definitions.sources),
        admit=lambda event: definitions.admission.admit(event),
        namespaces=lambda: definitions.namespaces,
    )
    return HostedStep(step, stateful=False)


def _host_unify(dependencies: StepDependencies) -> HostedStep:
    return HostedStep(UnifyStep(dependencies.settings, dependencies.store, **_definition_getters(dependencies)))


def _host_link(dependencies: StepDependencies) -> HostedStep:
    """Host the link agent, and beside it the rounds over all clusters after a change of the identity rules."""
    settings, store, rules = dependencies.settings, dependencies.store, partial(readable_rules, dependencies.definitions)

    def recluster(resources: AgentResources) -> Coroutine[Any, Any, None]:
        return Reclusterer(
            settings,
            store=store,
            producer=resources.producer,
            rules=rules,
            assigned_partitions=resources.assigned.all,
        ).run()

    return HostedStep(LinkStep(settings, store, rules), background={"reclustering": recluster})


def _host_segment(dependencies: StepDependencies) -> HostedStep:
    """Host the segment agent, and beside it the timers of the profiles that it evaluates."""

    def emit_timers(resources: AgentResources) -> Coroutine[Any, Any, None]:
        return Timers(
            dependencies.settings,
            store=dependencies.store,
            producer=resources.producer,
            clock=dependencies.clock,
            assigned=resources.assigned,
            observe_lateness=partial(metrics.observe_timer_lateness, "emitted"),
        ).run()

    step = SegmentStep(dependencies.settings, dependencies.store, **_definition_getters(dependencies))
    return HostedStep(step, background={"timers": emit_timers})


def _host_group(dependencies: StepDependencies) -> HostedStep:
    return HostedStep(GroupStep(dependencies.settings, dependencies.store, **_definition_getters(dependencies)))


def _definition_getters(dependencies: StepDependencies) -> dict[str, Callable[[], Any]]:
    """Return what a step reads of the definitions. Getters, because the definitions change while the process runs."""
    definitions = dependencies.definitions
    return {
        "plan": lambda: definitions.plan,
        "rules": partial(readable_rules, definitions),
        "definitions_offset": lambda: definitions.next_offset,
    }


AGENTS: Final[Mapping[str, Callable[[StepDependencies], HostedStep]]] = {
    "accept": _host_accept,
    "unify": _host_unify,
    "link": _host_link,
    "segment": _host_segment,
    "group": _host_group,
}
"""Every agent by name, which is also the name of its step and of its consumer group."""


def build_agents(dependencies: StepDependencies, names: Sequence[str] = tuple(AGENTS)) -> list[HostedStep]:
    """Build the named agents' steps, in that order. Raises KeyError for a name that is not in AGENTS."""
    return [AGENTS[name](dependencies) for name in names]
