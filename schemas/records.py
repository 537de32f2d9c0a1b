"""The records of the topics: JSON on the wire, one struct per kind of record.

Every field has a description. `docs/records.md`, the JSON Schemas under `docs/schemas/records/` and the AsyncAPI document are made
from these descriptions, and a test compares them. Units are part of a name: `_ms` is an instant in epoch milliseconds.

`version` is the version of the record's schema. A reader takes every version up to its own and brings older ones up to date
(`schemas.codec`); it quarantines a newer one with the reason `unknown_version`. A new field therefore has a default.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Cause = Literal["event", "link", "timer", "merge", "split", "group", "rebuild", "backfill", "reconcile", "definition"]
LIVE_CAUSES: Final[frozenset[Cause]] = frozenset({"event", "link", "timer", "group"})
"""The causes that mean that something happened to the customer, or to their account or household. Transitions by any other cause
only restate, relabel or repair what was known; activation sends none of them to a channel by itself."""
LinkRule = Literal["together", "alias", "same_number"]
DecisionKind = Literal["cut", "apart"]
DecisionAction = Literal["cut", "split", "undo"]
TransitionOp = Literal["entered", "exited"]
GroupKind = Literal["account", "household"]
Settlement = Literal["replayed", "discarded"]
DeliveryState = Literal["delivered", "failed", "skipped", "waiting"]

Version = Annotated[int, Meta(description="The version of this record's schema.")]
ProfileId = Annotated[str, Meta(description="The profile: its smallest node by (namespace rank, keyed hash).")]
EventId = Annotated[str, Meta(description="The message id of the event that caused this; empty when no event did.")]
Segment = Annotated[str, Meta(description="The name of the segment.")]
SegmentSequence = Annotated[int, Meta(description="Grows with every transition of this profile in this segment.")]


class TraitValue(msgspec.Struct, array_like=True, frozen=True):
    """A trait's value with the event that set it: a JSON array of the fields in this order.

    The value with the larger (trusted, time_ms, id) wins. None means that the trait was removed: the removal must be remembered, or
    an older value that arrives late would bring the trait back.
    """

    value: Annotated[Any, Meta(description="The value; null when the trait was removed.")]
    time_ms: Annotated[int, Meta(description="The time of the event, in epoch milliseconds.")]
    id: Annotated[str, Meta(description="The hash of its message.")]
    trusted: Annotated[bool, Meta(description="Whether its source was trusted.")] = True


class LinkRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A record of `links`: a Link, a LinkDecision or a ReclusterRequest, told apart by `kind`."""


class Link(LinkRecord, frozen=True, kw_only=True, tag="link"):
    """Evidence: two identifiers were seen together, for the first time or in a wider range of time than the worker knew."""

    version: Version = 2
    a: Annotated[str, Meta(description="The smaller of the two nodes.")]
    b: Annotated[str, Meta(description="The larger of the two nodes.")]
    first_ms: Annotated[int, Meta(description="The time of the earliest event with both, in epoch milliseconds.")]
    first_event: Annotated[str, Meta(description="The message id of that event.")]
    last_ms: Annotated[int, Meta(description="The time of the earliest event of the latest day with both, in epoch milliseconds.")]
    last_event: Annotated[str, Meta(description="The message id of that event.")]
    source: Annotated[str, Meta(description="The source of the earliest event.")]
    owner: Annotated[str, Meta(description="The owner of the earliest event: the node whose fragment counts it.")]
    rule: Annotated[
        LinkRule,
        Meta(description="What made the pair evidence: one event named both, an alias, or a caller number and a phone are equal."),
    ] = "together"
    rules: Annotated[str, Meta(description="The version of the identity rules at that time.")] = ""
    trusted: Annotated[
        bool, Meta(description="Whether a trusted source has seen the two together; then all of this is about such events alone.")
    ] = True


class LinkDecision(LinkRecord, frozen=True, kw_only=True, tag="decision"):
    """A person decided something about pairs of nodes. The latest decision about a pair holds."""

    version: Version = 1
    operation: Annotated[str, Meta(description="The name of the operation, for the audit and for undoing it.")]
    action: Annotated[DecisionAction, Meta(description="What the person did.")]
    pairs: Annotated[
        tuple[tuple[DecisionKind, str, str], ...],
        Meta(description="(`cut` or `apart`, smaller node, larger node): the pair's evidence is cut, or the two must stay apart."),
    ]
    on: Annotated[bool, Meta(description="False when the decision is taken back.")]
    at_ms: Annotated[int, Meta(description="When it was decided, in epoch milliseconds.")]
    of: Annotated[str, Meta(description="The operation that is undone; empty when none is.")] = ""
    by: Annotated[str, Meta(description="Who decided, for the audit.")] = ""
    reason: Annotated[str, Meta(description="Why, in that person's words, for the audit.")] = ""


class ReclusterRequest(LinkRecord, frozen=True, kw_only=True, tag="recluster"):
    """The clusters of these nodes are to be computed anew by newer identity rules. A request without nodes ends a round."""

    version: Version = 1
    nodes: Annotated[tuple[str, ...], Meta(description="The nodes whose clusters are computed anew.")]
    rules_number: Annotated[int, Meta(description="The sequence number of the identity rules to compute them by.")]
    resolved: Annotated[int, Meta(description="How many nodes the round has resolved with this request; 0 at its end.")] = 0
    total: Annotated[int, Meta(description="How many nodes the round has to resolve; 0 at its end.")] = 0


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes a profile consists of now. Of two records that name the same node the larger `label_version` is right."""

    version: Version = 1
    profile_id: ProfileId
    members: Annotated[tuple[str, ...], Meta(description="The nodes of the profile; none when it is dissolved.")]
    label_version: Annotated[int, Meta(description="The version of the member list; it only grows.")]
    merged_into: Annotated[str, Meta(description="The profile that a dissolved profile went into.")] = ""
    split_from: Annotated[str, Meta(description="The profile that these nodes were part of before.")] = ""
    cause: Annotated[str, Meta(description="The message id or the operation behind the change.")] = ""
    at_ms: Annotated[int, Meta(description="When the change was decided, in epoch milliseconds.")]


RegisterEntry = tuple[int, str, Any]


class TouchEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event behind a touch, with what it replaced in its owner's fragment: so the state before it can be looked at.

    Several events may come between two evaluations of a profile. The segment agent takes them back one by one, from the latest to
    the earliest, and so finds the one that made a membership change.
    """

    id: Annotated[str, Meta(description="The message id of the event.")]
    received_ms: Annotated[int, Meta(description="When the event was received, in epoch milliseconds.")]
    changed: Annotated[
        tuple[str, ...], Meta(description="The event labels, traits and namespaces that it changed; empty: perhaps all of them.")
    ] = ()
    entries: Annotated[
        dict[str, tuple[RegisterEntry, ...]],
        Meta(description="By register key: the entry that the event added, then those that gave way to it."),
    ] = {}
    counted: Annotated[
        dict[str, tuple[str, int]],
        Meta(description="By the key of a tally: the value that it counted, and the amount that it added."),
    ] = {}
    traits: Annotated[
        dict[str, TraitValue],
        Meta(description="By name: the trait before it; an empty hash of the message means none."),
    ] = {}
    nodes: Annotated[tuple[str, ...], Meta(description="The nodes that the owner's fragment did not know before.")] = ()


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A request to evaluate a profile again because it may have changed.

    A change of definitions touches every profile. Such a touch carries `since_ms` and `offsets`: a profile with a later event gets
    another touch for that event, which names what the event changed.
    """

    version: Version = 2
    profile_id: ProfileId
    node: Annotated[str, Meta(description="The node whose label led to the profile.")]
    cause: Annotated[Cause, Meta(description="Why the profile may have changed.")]
    event_id: EventId = ""
    at_ms: Annotated[int, Meta(description="The instant to evaluate at: the event's, or the timer's, in epoch milliseconds.")]
    changed: Annotated[
        tuple[str, ...],
        Meta(description="The registers, traits and counters that changed, so that only their segments are evaluated; empty: all."),
    ] = ()
    since_ms: Annotated[int, Meta(description="When the definitions changed, in epoch milliseconds; 0 for other causes.")] = 0
    offsets: Annotated[
        tuple[int, ...], Meta(description="The next offset of each partition of `events` when the definitions changed.")
    ] = ()
    events: Annotated[
        tuple[TouchEvent, ...],
        Meta(
            description="The events behind a touch with the cause `event` that can change a membership, in their order of arrival."
        ),
    ] = ()


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The traits that an event sets on an account (then `profile_id` is empty), or what a profile contributes to a group now."""

    version: Version = 1
    group_id: Annotated[str, Meta(description="The group: its kind's letter and a keyed hash of its name or matching key.")]
    kind: Annotated[GroupKind, Meta(description="An account (Segment's group call) or a household.")]
    name: Annotated[str, Meta(description="The account's groupId; empty for a household.")] = ""
    profile_id: Annotated[
        str, Meta(description="The contributing profile; empty when the record carries the traits of an account.")
    ] = ""
    present: Annotated[bool, Meta(description="False when the profile has left the group.")] = True
    seq: Annotated[
        int,
        Meta(description="Grows with every record of this profile for this group; the record with the largest number is current."),
    ] = 0
    rank: Annotated[
        int, Meta(description="The place of the household's matching key among the profile's own; 0 is the strongest.")
    ] = 0
    max_members: Annotated[int, Meta(description="A group with more members than this does not count as a household.")] = 0
    traits: Annotated[
        dict[str, TraitValue],
        Meta(description="The traits by name, each with the event that set it."),
    ] = {}
    counters: Annotated[
        dict[str, int],
        Meta(description="How often an event happened that a segment asks households for, up to the most that is asked for."),
    ] = {}
    at_ms: Annotated[int, Meta(description="When the record was made, in epoch milliseconds.")] = 0


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The profile as it is now. A dissolved profile has no members and names in `merged_into` where they went."""

    version: Version = 2
    profile_id: ProfileId
    members: Annotated[tuple[str, ...], Meta(description="The nodes of the profile.")]
    label_version: Annotated[int, Meta(description="The version of the member list; it only grows.")]
    merged_into: Annotated[str, Meta(description="The profile that a dissolved profile went into.")] = ""
    split_from: Annotated[str, Meta(description="The profile that this one was part of before `label_version`.")] = ""
    identifiers: Annotated[
        tuple[tuple[str, str], ...], Meta(description="(namespace, normalised value) of each identifier that is shown.")
    ]
    traits: Annotated[dict[str, Any], Meta(description="The latest value of each trait.")]
    counters: Annotated[dict[str, int], Meta(description="How often each event happened.")]
    first_seen_ms: Annotated[int, Meta(description="The time of the first event, in epoch milliseconds.")]
    last_seen_ms: Annotated[int, Meta(description="The time of the latest event, in epoch milliseconds.")]
    segments: Annotated[tuple[str, ...], Meta(description="The segments that the profile is in, sorted.")]
    computed: Annotated[dict[str, Any], Meta(description="The computed traits that have a value.")] = {}
    dropped_names: Annotated[
        dict[str, int],
        Meta(description="About how many `traits`, `counters` and `identifiers` are not here but in ClickHouse alone."),
    ] = {}
    updated_ms: Annotated[int, Meta(description="When the profile was evaluated, in epoch milliseconds.")]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A profile entered or left a segment. (profile_id, segment, seq) names the transition."""

    version: Version = 2
    profile_id: ProfileId
    segment: Segment
    segment_version: Annotated[str, Meta(description="The version of the segment's definition.")]
    op: Annotated[TransitionOp, Meta(description="Whether the profile entered or left.")]
    seq: SegmentSequence
    at_ms: Annotated[int, Meta(description="When the membership changed by the segment's definition, in epoch milliseconds.")]
    evaluated_ms: Annotated[int, Meta(description="When the change was noticed, in epoch milliseconds.")]
    cause: Annotated[Cause, Meta(description="What made the membership change.")]
    event_id: EventId = ""
    traits: Annotated[dict[str, Any], Meta(description="The profile's traits at that time, so that a message needs no look-up.")]
    computed: Annotated[dict[str, Any], Meta(description="The profile's computed traits at that time.")] = {}
    identifiers: Annotated[
        tuple[tuple[str, str], ...],
        Meta(description="(namespace, normalised value) of each of the profile's identifiers at that time."),
    ] = ()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one message to one destination: how it ended, or that it waits for its next attempt."""

    version: Version = 1
    key: Annotated[str, Meta(description="The idempotency key that the receiver sees.")]
    destination: Annotated[str, Meta(description="The name of the destination.")]
    profile_id: ProfileId
    segment: Segment
    op: Annotated[TransitionOp, Meta(description="The transition that the message reports.")]
    seq: SegmentSequence
    state: Annotated[DeliveryState, Meta(description="What became of the message.")]
    verdict: Annotated[
        str,
        Meta(
            description="Why: `due`, `rejected`, `gone`, `retries_exhausted`, `in_order` (it waits behind an earlier message of "
            "its profile), or `silent_cause:` and the skipped cause."
        ),
    ]
    attempts: Annotated[int, Meta(description="How often it was sent; 0 when it was skipped or has not been sent yet.")]
    status: Annotated[int, Meta(description="The HTTP status of the last answer; 0 when there was none.")]
    detail: Annotated[str, Meta(description="What went wrong, without personal data; empty on success.")]
    transition_ms: Annotated[int, Meta(description="`at_ms` of the transition, in epoch milliseconds.")]
    at_ms: Annotated[int, Meta(description="When this became of the message, in epoch milliseconds.")]
    next_ms: Annotated[
        int, Meta(description="When a waiting message is tried next, in epoch milliseconds; 0 when it has ended or waits in order.")
    ] = 0


class WaitingDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits for its next attempt. The last record of a key counts, and a record without a value ends it."""

    version: Version = 1
    key: Annotated[str, Meta(description="The idempotency key that the receiver sees.")]
    destination: Annotated[str, Meta(description="The name of the destination.")]
    transition: Annotated[Transition, Meta(description="The transition that the message reports.")]
    offset: Annotated[int, Meta(description="Its offset in `memberships`: the messages of a profile are sent in this order.")]
    attempts: Annotated[int, Meta(description="How often it was sent.")]
    since_ms: Annotated[int, Meta(description="Since when it is to be sent, in epoch milliseconds: its age counts from here.")]
    due_ms: Annotated[int, Meta(description="When it is tried next, in epoch milliseconds.")]
    status: Annotated[int, Meta(description="The HTTP status of the last answer; 0 when there was none.")] = 0
    detail: Annotated[str, Meta(description="What went wrong, without personal data.")] = ""
    resent_ms: Annotated[int, Meta(description="When a person asked to send it again, in epoch milliseconds; else 0.")] = 0


class QuarantineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was not stored, whole, with the reason; or, with `settled`, what became of such a record later."""

    version: Version = 1
    id: Annotated[str, Meta(description="The same when the same record is quarantined again after a crash.")]
    stage: Annotated[str, Meta(description="The process or agent that refused the record.")]
    reason: Annotated[str, Meta(description="One of the closed list of reasons.")]
    detail: Annotated[str, Meta(description="The field and what is wrong with it, without its value.")]
    source: Annotated[str, Meta(description="The source of the event; empty when unknown.")]
    topic: Annotated[str, Meta(description="The topic of the refused record; empty when it never reached one.")]
    partition: Annotated[int, Meta(description="Its partition; -1 when it never reached a topic.")]
    offset: Annotated[int, Meta(description="Its offset; -1 when it never reached a topic.")]
    raw: Annotated[str, Meta(description="The bytes of the refused record, in base64.")]
    encoding: Annotated[
        Literal["", "zlib"], Meta(description="How the bytes are compressed before base64; empty for bytes as they were.")
    ] = ""
    at_ms: Annotated[int, Meta(description="When it was quarantined, or settled, in epoch milliseconds.")]
    counted: Annotated[bool, Meta(description="Whether it was one accepted event, so that the account adds it up.")]
    settled: Annotated[Settlement | Literal[""], Meta(description="What became of it; empty while it is open.")] = ""
    by: Annotated[str, Meta(description="Who settled it.")] = ""
    because: Annotated[str, Meta(description="Why, in that person's words.")] = ""
