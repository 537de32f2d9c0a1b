"""Decide whether a transition is sent to a destination, and why. Pure.

Only live causes are sent: a customer must not get the same message again because profiles were merged, a store was rebuilt or a
repair found a mistake. The exception is `backfill`: a destination may ask, by `on_backfill: send`, for the profiles that are in a
segment when the segment is defined.

Example: a destination has the trigger `{segment: vip, on: [entered]}`. `entered vip` by an event gives Verdict("send", "due"); by
a merge Verdict("skip", "silent_cause:merge"); `exited vip` gives None, since no trigger names it.
"""

from dataclasses import dataclass
from typing import Final, Literal

from domain.definitions.kinds import Destination
from schemas.records import LIVE_CAUSES, Transition

Action = Literal["send", "skip"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a transition, and the reason that is stored as the delivery's verdict."""

    action: Action
    reason: str


SEND: Final = Verdict("send", "due")


def decide(transition: Transition, destination: Destination) -> Verdict | None:
    """Return the verdict on a transition; None when no trigger of the destination names it, and nothing is to be stored."""
    if not any(trigger.segment == transition.segment and transition.op in trigger.on for trigger in destination.spec.triggers):
        return None
    if transition.cause == "backfill" and destination.spec.on_backfill == "send":
        return SEND
    if transition.cause not in LIVE_CAUSES:
        return Verdict("skip", f"silent_cause:{transition.cause}")
    return SEND
