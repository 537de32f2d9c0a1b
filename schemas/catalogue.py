"""Which kinds of records each topic carries: what the documents about the topics are made from."""

from typing import Final

import msgspec

from schemas.events import Event
from schemas.records import (
    Delivery,
    GroupRecord,
    Identity,
    Link,
    LinkDecision,
    Profile,
    QuarantineRecord,
    ReclusterRequest,
    Touched,
    Transition,
    WaitingDelivery,
)

RECORDS_BY_TOPIC: Final[dict[str, tuple[type[msgspec.Struct], ...]]] = {
    "events": (Event,),
    "links": (Link, LinkDecision, ReclusterRequest),
    "identities": (Identity,),
    "touched": (Touched,),
    "profiles": (Profile,),
    "memberships": (Transition,),
    "groups": (GroupRecord,),
    "deliveries": (Delivery,),
    "retries": (WaitingDelivery,),
    "quarantine": (QuarantineRecord,),
}
"""By the name of the topic. `touchpoints` carries calls as clients send them, `definitions` carries definitions as documents."""
