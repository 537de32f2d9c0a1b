"""The other records of the topics. JSON on the wire; `version` is the schema's."""

from typing import Any, Literal

import msgspec

Cause = Literal["event", "link", "timer", "merge", "split", "group", "rebuild", "backfill", "reconcile", "definition"]
LinkRule = Literal["together", "alias"]
DecisionKind = Literal["cut", "apart"]
DecisionAction = Literal["cut", "split", "undo"]
TransitionOp = Literal["entered", "exited"]
GroupKind = Literal["account", "household"]
Settlement = Literal["replayed", "discarded"]
DeliveryState = Literal["delivered", "failed", "skipped"]


class LinkRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """`links`: one of Link, Decided, Look, told apart by `kind`."""


class Link(LinkRecord, frozen=True, kw_only=True, tag="link"):
    """`links`: two nodes seen together, new or with a wider time range than the worker had. a < b.

    `first_*` is the earliest event, `last_*` the earliest one of the latest day. `owner` is whose fragment has the first event,
    `rule` what made it evidence, `rules` the version of the identity rules then.
    """

    version: int = 2
    a: str
    b: str
    first_ms: int
    first_event: str
    last_ms: int
    last_event: str
    source: str
    owner: str
    rule: LinkRule = "together"
    rules: str = ""


class LinkDecision(LinkRecord, frozen=True, kw_only=True, tag="decision"):
    """`links`: a person decided something about pairs of nodes; each pair is (cut or apart, a, b) with a < b.

    `on` is false when it is taken back. The latest decision of a pair holds. `of` names the operation that is undone, if one is.
    `by` and `reason` are for the audit.
    """

    version: int = 1
    operation: str
    action: DecisionAction
    pairs: tuple[tuple[DecisionKind, str, str], ...]
    on: bool
    at_ms: int
    of: str = ""
    by: str = ""
    reason: str = ""


class ReclusterRequest(LinkRecord, frozen=True, kw_only=True, tag="look"):
    """`links`: look at the clusters of these nodes again, by the identity rules of `number`. One without nodes ends a round."""

    version: int = 1
    nodes: tuple[str, ...]
    number: int


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`identities`: which nodes a profile consists of now. Of two records that name a node the larger version is right.

    A dissolved profile has no members and says where it went; one that was split off says from where. `cause` is the event or the
    operation behind the change.
    """

    version: int = 1
    profile_id: str
    members: tuple[str, ...]
    label_version: int
    merged_into: str = ""
    split_from: str = ""
    cause: str = ""
    at_ms: int


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """`touched`: this profile may have changed. `node` is whose label led to it.

    `changed` says what an event changed (see `SegmentPlan.concerned`), so that nothing else is looked at; nothing said is
    everything.
    Said of every profile because definitions changed, it says since when (`since_ms`), and which offsets of `events` were the next
    ones then, by partition (`offsets`): a profile with a later event has another touch on its way, which says what that one did.
    """

    version: int = 2
    profile_id: str
    node: str
    cause: Cause
    event_id: str = ""
    at_ms: int
    changed: tuple[str, ...] = ()
    since_ms: int = 0
    offsets: tuple[int, ...] = ()


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`groups`: what an event says of an account (then `profile_id` is empty), or all that a profile contributes to a group now.

    `traits` are name → (value, time_ms, message hash); of two of one name the larger (time_ms, hash) wins. Of the records of one
    profile the largest `seq` holds; with `present` false nothing of the profile is left in the group. `name` is the account's
    groupId. Of a household: `rank` is the place of its sign among the profile's (0 is the strongest), `most` how many members
    make it too large to be one, `counters` how often events happened that a segment asks households for, cut off where it asks.
    """

    version: int = 1
    group_id: str
    kind: GroupKind
    name: str = ""
    profile_id: str = ""
    present: bool = True
    seq: int = 0
    rank: int = 0
    most: int = 0
    traits: dict[str, tuple[Any, int, str]] = {}
    counters: dict[str, int] = {}
    at_ms: int = 0


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`profiles`: the profile as it now is. A dissolved one has no members and says in `merged_into` where it went.

    `label_version` is the version of the member list; `split_from` is the profile that it was a part of before that version.
    `computed` are the values of its computed traits, those without one left out.
    """

    version: int = 2
    profile_id: str
    members: tuple[str, ...]
    label_version: int
    merged_into: str = ""
    split_from: str = ""
    identifiers: tuple[tuple[str, str], ...]
    traits: dict[str, Any]
    counters: dict[str, int]
    first_seen_ms: int
    last_seen_ms: int
    segments: tuple[str, ...]
    computed: dict[str, Any] = {}
    updated_ms: int


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """`memberships`: a profile entered or left a segment. (profile_id, segment, seq) names it; seq only grows.

    `at_ms` is when the membership changed by the definition's semantics; `evaluated_ms` when it was seen.
    `traits` and `computed` are what the profile's traits and computed traits were then, so that a message can be rendered without
    a read.
    """

    version: int = 2
    profile_id: str
    segment: str
    segment_version: str
    op: TransitionOp
    seq: int
    at_ms: int
    evaluated_ms: int
    cause: Cause
    event_id: str = ""
    traits: dict[str, Any]
    computed: dict[str, Any] = {}


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`deliveries`: a state change of one message to one destination. `key` is the idempotency key that the receiver sees."""

    version: int = 1
    key: str
    destination: str
    profile_id: str
    segment: str
    op: TransitionOp
    seq: int
    state: DeliveryState
    verdict: str
    attempts: int
    status: int
    detail: str
    transition_ms: int
    at_ms: int


class QuarantineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`quarantine`: the raw record, whole (`raw` is base64), with its reason, place and offset.

    `id` is the same when the same record is quarantined again after a crash. `counted` says that it was one accepted event
    (a record of `events`, or one that never reached it), so that the account can add it up.
    Said again with `settled`, and without the raw record, it tells what became of it, when (`at_ms`), by whom and why.
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
    settled: Settlement | Literal[""] = ""
    by: str = ""
    because: str = ""
