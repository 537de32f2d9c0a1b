"""What a request declares for all of its calls, and the steps that every event passes after `parse_call`. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.intake.rejection import Rejection
from domain.intake.trust import Trust
from schemas.events import Event


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """What one request declares for all of its calls.

    `source` is the name of the source, and `trust` its trust. `received_ms` is the time when the whole body had arrived. `ip` is
    the client's address, "" if it is unknown; it gets into an event only if `record_ip` allows it. `gpc` is the browser's Global
    Privacy Control signal.
    """

    source: str
    received_ms: int
    trust: Trust = "public"
    gpc: bool = False
    ip: str = ""
    record_ip: bool = False
    user_agent: str = ""
    namespaces: Namespaces = SHIPPED_NAMESPACES
    write_key: str = field(default="", repr=False)
    """The key by which the source was found, so that no quarantine record holds it."""


IntakeStep = Callable[[Event, IntakeContext], Event | Rejection]
"""Changes an event before it is published, or rejects it. A step must not raise and must not read a clock."""


def add_connection_context(event: Event, intake_context: IntakeContext) -> Event:
    """Return the event with what the connection told: Global Privacy Control, and the client's address if the source records it.

    An address that the client itself has put into the context stays: a server sends the address of its visitor.
    """
    if not intake_context.gpc and not (intake_context.record_ip and intake_context.ip):
        return event
    context = dict(event.context)
    if intake_context.gpc:
        context["gpc"] = True
    if intake_context.record_ip and intake_context.ip and not context.get("ip"):
        context["ip"] = intake_context.ip
    return msgspec.structs.replace(event, context=context)


# The order matters: a step reads what the steps before it have added.
INTAKE_STEPS: Final[tuple[IntakeStep, ...]] = (add_connection_context,)
