"""Whether a transition is sent to a destination, and why. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from domain.definitions.kinds import Destination
from schemas.records import Cause, Transition

LIVE_CAUSES: Final[frozenset[Cause]] = frozenset({"event", "link", "timer", "group"})
"""Something happened to the customer, or to the account or household. A merge only relabels what was said before, and a rebuild
says it again; a definition that came, changed or went, and a repair, are nobody's doing: destinations may ask for those who are in
when it comes (`on_backfill`)."""

Action = Literal["send", "skip"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and the reason as it is stored."""

    action: Action
    reason: str


SEND: Final = Verdict("send", "due")


def decide(transition: Transition, destination: Destination) -> Verdict | None:
    """The verdict on a transition; None when no trigger of the destination names it, so that nothing is to be stored."""
    if not any(trigger.segment == transition.segment and transition.op in trigger.on for trigger in destination.spec.triggers):
        return None
    if transition.cause == "backfill" and destination.spec.on_backfill == "send":
        return SEND
    if transition.cause not in LIVE_CAUSES:
        return Verdict("skip", f"silent_cause:{transition.cause}")
    return SEND
