"""What a public source may not send. Pure.

**Why.** The write key of a website or of an app is in the hands of everybody who looks for it. What comes by it is what one browser
says, and may be anybody's invention. So it cannot be what only the business knows: its own numbers of customers, its calls, its
past. All else it may send, and that weighs less than what a trusted source says (`domain.identity.clusters`,
`domain.profiles.fragment`).

**Invariant.** Trust belongs to the Source. Each event carries the trust that its source had when it was received, so what follows
from events does not change when a definition does.

**Example.** The website's key sends an identify with `crm_id`: it is quarantined as `untrusted_source`. The same call by the key of
the source `server` becomes an event.
"""

from typing import Final, Literal

from domain.intake.rejection import Rejection
from schemas.events import CALL_TYPES, Event
from schemas.instants import DAY_MS
from schemas.reasons import Reason

Trust = Literal["public", "trusted"]

SERVER_SOURCE: Final = "server"
"""The trusted source of every deployment: of records on `touchpoints` that name no source, and of imports."""
MAX_PUBLIC_AGE_DAYS: Final = 30
"""How long before its receipt an event of a public source may have happened: longer than most devices are offline."""
TRUSTED_NAMESPACES: Final = frozenset({"crm_id", "caller_number"})
"""What only the business knows of its customers: its own number of a customer, and who has called."""


def find_refusal(event: Event) -> Rejection | None:
    """Return why this event may not come from its source, None when it may."""
    if event.trusted:
        return None
    if event.type in CALL_TYPES:
        return Rejection(Reason.UNTRUSTED_SOURCE, "a public source sends no calls", "type")
    for namespace, _ in event.identifiers:
        if namespace in TRUSTED_NAMESPACES:
            return Rejection(Reason.UNTRUSTED_SOURCE, f"a public source names no {namespace}", f"identifiers.{namespace}")
    if event.received_ms - event.time_ms > MAX_PUBLIC_AGE_DAYS * DAY_MS:
        return Rejection(Reason.TOO_OLD, f"more than {MAX_PUBLIC_AGE_DAYS} days before it was received", "timestamp")
    return None
