"""The other records of the topics. JSON on the wire; `version` is the schema's."""

from typing import Any, Literal

import msgspec

Cause = Literal["event", "link", "timer", "merge", "rebuild"]
Op = Literal["entered", "exited"]
DeliveryState = Literal["delivered", "failed", "skipped"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """`links`: two nodes seen together, new or with a wider time range than the worker had. a < b."""

    version: int = 1
    a: str
    b: str
    first_ms: int
    last_day: int
    event_id: str
    source: str


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """`touched`: this profile may have changed. `node` is whose label led to it."""

    version: int = 1
    profile_id: str
    node: str
    cause: Cause
    event_id: str = ""
    at_ms: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`profiles`: the profile as it now is. A dissolved one has `merged_into` and no members.

    `label_version` orders the member labels: of two records that name a node, the larger one is right.
    """

    version: int = 1
    profile_id: str
    members: tuple[str, ...]
    label_version: int
    merged_into: str = ""
    identifiers: tuple[tuple[str, str], ...]
    traits: dict[str, Any]
    counters: dict[str, int]
    first_seen_ms: int
    last_seen_ms: int
    segments: tuple[str, ...]
    updated_ms: int


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """`memberships`: a profile entered or left a segment. (profile_id, segment, seq) names it; seq only grows.

    `at_ms` is when the membership changed by the definition's semantics; `evaluated_ms` when it was seen.
    `traits` is what the profile's traits were then, so that a message can be rendered without a read.
    """

    version: int = 1
    profile_id: str
    segment: str
    segment_version: str
    op: Op
    seq: int
    at_ms: int
    evaluated_ms: int
    cause: Cause
    event_id: str = ""
    traits: dict[str, Any]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`deliveries`: a state change of one message to one destination. `key` is the idempotency key that the receiver sees."""

    version: int = 1
    key: str
    destination: str
    profile_id: str
    segment: str
    op: Op
    seq: int
    state: DeliveryState
    verdict: str
    attempts: int
    status: int
    detail: str
    transition_ms: int
    at_ms: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """`quarantine`: the raw record, whole (`raw` is base64), with its reason, place and offset.

    `id` is the same when the same record is quarantined again after a crash. `counted` says that it was one accepted event
    (a record of `events`, or one that never reached it), so that the account can add it up.
    """

    version: int = 1
    id: str
    stage: str
    reason: str
    detail: str
    source: str
    topic: str
    partition: int
    offset: int
    raw: str
    at_ms: int
    counted: bool
