"""What a request says of all of its calls, and the steps that every event goes through after `parse_call`. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.events import Event
from domain.intake.parse import Rejected


@dataclass(frozen=True, slots=True)
class Facts:
    """`source` is its name. `ip` is who sent the request ("" if that is not known): only `record_ip` allows it into an event."""

    source: str
    received_ms: int
    gpc: bool = False
    ip: str = ""
    record_ip: bool = False
    user_agent: str = ""


Step = Callable[[Event, Facts], Event | Rejected]
"""Changes an event before it is written, or says why it is none. Must not raise and must not look at a clock."""


def stamped(event: Event, facts: Facts) -> Event:
    """The event with what the connection says: Global Privacy Control, and the client's address if the source records it.

    An address that the client itself has put into the context stays: a server speaks of its visitor.
    """
    if not facts.gpc and not (facts.record_ip and facts.ip):
        return event
    context = dict(event.context)
    if facts.gpc:
        context["gpc"] = True
    if facts.record_ip and facts.ip and not context.get("ip"):
        context["ip"] = facts.ip
    return msgspec.structs.replace(event, context=context)


# In this order. A step of your own goes behind those that it reads from.
STEPS: Final[tuple[Step, ...]] = (stamped,)
