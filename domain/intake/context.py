"""What a request says of all of its calls, and the steps that every event goes through after `parse_call`. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.intake.parse import Rejection
from schemas.events import Event


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """`source` is its name. `ip` is who sent the request ("" if that is not known): only `record_ip` allows it into an event."""

    source: str
    received_ms: int
    gpc: bool = False
    ip: str = ""
    record_ip: bool = False
    user_agent: str = ""


IntakeStep = Callable[[Event, IntakeContext], Event | Rejection]
"""Changes an event before it is written, or says why it is none. Must not raise and must not look at a clock."""


def add_connection_context(event: Event, intake_context: IntakeContext) -> Event:
    """The event with what the connection says: Global Privacy Control, and the client's address if the source records it.

    An address that the client itself has put into the context stays: a server speaks of its visitor.
    """
    if not intake_context.gpc and not (intake_context.record_ip and intake_context.ip):
        return event
    context = dict(event.context)
    if intake_context.gpc:
        context["gpc"] = True
    if intake_context.record_ip and intake_context.ip and not context.get("ip"):
        context["ip"] = intake_context.ip
    return msgspec.structs.replace(event, context=context)


# In this order. A step of your own goes behind those that it reads from.
INTAKE_STEPS: Final[tuple[IntakeStep, ...]] = (add_connection_context,)
