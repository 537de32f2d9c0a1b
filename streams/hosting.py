"""What an agent is built of: its step, whether the step keeps state, and the tasks that run beside it."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.definitions.live import LiveDefinitions
from profile_store.port import ProfileStore
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.settings import Settings
from streams.assigned_partitions import AssignedPartitions
from streams.step import Step


@dataclass(frozen=True, slots=True)
class StepDependencies:
    """What every step of a process shares. `definitions` changes in place, so a step reads it anew for each slice."""

    settings: Settings
    store: ProfileStore
    clock: Clock
    definitions: LiveDefinitions


@dataclass(frozen=True, slots=True)
class AgentResources:
    """What an agent lends to its background tasks: the process's producer, and the partitions that the agent is assigned."""

    producer: Producer
    assigned: AssignedPartitions


BackgroundTask = Callable[[AgentResources], Coroutine[Any, Any, None]]
"""Starts a task that runs until it is cancelled. An exception that it lets through ends the process as a bug."""


@dataclass(frozen=True, slots=True)
class HostedStep:
    """A step to host.

    A `stateful` step keeps documents in the profile store, and beside them the position of each of its partitions; the agent of
    any other step starts from the committed offsets alone. `background` has the tasks that run as long as the agent, by name.
    """

    step: Step
    stateful: bool = True
    background: Mapping[str, BackgroundTask] = field(default_factory=dict)
