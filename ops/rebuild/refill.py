"""What a rebuilt profile store holds, as writes by place. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from domain.identity.clusters import members_of
from domain.identity.groups import documents_from_records, encode_group
from domain.identity.model import Label, Members
from domain.profiles.fragment import encode_fragment
from domain.profiles.membership import DISSOLVED_INTO_MANY, Membership, SegmentState, encode_membership
from domain.profiles.state import RecomputedState
from profile_store.port import DocumentKind, GuardedDocument, TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from schemas.records import GroupRecord

CHUNK: Final = 500
DocumentsByPartition = dict[TopicPartition, dict[tuple[DocumentKind, str], GuardedDocument]]
"""Guarded documents by the place that they are written for."""


@dataclass(frozen=True, slots=True)
class RefillOffsets:
    """The places of the four agents that keep state, each with the next offset that its state stands for."""

    events: Mapping[TopicPartition, int]
    links: Mapping[TopicPartition, int]
    touched: Mapping[TopicPartition, int]
    groups: Mapping[TopicPartition, int] = field(default_factory=dict)

    def by_topic_partition(self) -> dict[TopicPartition, int]:
        """All of them."""
        return {**self.events, **self.links, **self.touched, **self.groups}


def topic_partition_of(offsets: Mapping[TopicPartition, int], key: str) -> TopicPartition:
    """The place whose partition the key falls into."""
    by_partition = {topic_partition.partition: topic_partition for topic_partition in offsets}
    return by_partition[partition_of(key.encode(), len(by_partition))]


def fragment_documents(recomputed: RecomputedState, offsets: Mapping[TopicPartition, int]) -> DocumentsByPartition:
    """Every owner's fragment, guarded by all that its partition had stored: whatever comes again before that is refused."""
    documents: DocumentsByPartition = {topic_partition: {} for topic_partition in offsets}
    for owner, fragment in recomputed.state.fragments.items():
        topic_partition = topic_partition_of(offsets, owner)
        documents[topic_partition]["fragment", owner] = GuardedDocument(
            encode_fragment(fragment), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


@dataclass(frozen=True, slots=True)
class ProfileHistory:
    """What ClickHouse was told of profiles: their nodes' labels, their last change, the version of the member list that each was
    last evaluated at, which of them are shown, and what each contributed to which groups: see `membership_groups_from_records`."""

    labels: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, Members] = field(default_factory=dict)
    evaluated: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[str] = frozenset()
    contributed: Mapping[str, tuple[dict[str, str], int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RebuiltIdentities:
    """Labels, member lists, and of which profiles the member list is what it was: they are as they were last evaluated."""

    labels: dict[str, Label]
    members: dict[str, Members]
    unchanged: frozenset[str]


def rebuild_identities(recomputed: RecomputedState, history: ProfileHistory, version: int, now_ms: int) -> RebuiltIdentities:
    """Labels and members of every profile that is linked or ever was, at a version that is larger than any before.

    A member list that is the last one said keeps what was said of it; another one is the rebuild's doing.
    """
    target_labels = dict.fromkeys(history.labels, "") | recomputed.state.labels
    clusters = {
        profile_id: nodes
        for profile_id, nodes in members_of({node: profile_id or node for node, profile_id in target_labels.items()}).items()
        if len(nodes) > 1 or not history.labels.keys().isdisjoint(nodes)
    }
    labels = {node: Label(profile_id, version) for profile_id, nodes in clusters.items() for node in nodes}
    members: dict[str, Members] = {}
    unchanged = set()
    for node, label in labels.items():
        nodes = clusters.get(node, ())
        merged_into = "" if nodes else label.profile_id
        previous = history.profiles.get(node)
        if previous is not None and (previous.nodes, previous.merged_into) == (nodes, merged_into):
            members[node] = replace(previous, version=version)
            unchanged.add(node)
        else:
            members[node] = Members(nodes, version, merged_into=merged_into, cause="rebuild", at_ms=now_ms)
    return RebuiltIdentities(labels, members, frozenset(unchanged))


def membership_documents(
    rows: Iterable[tuple[Any, ...]],
    rebuilt: RebuiltIdentities,
    history: ProfileHistory,
    recomputed: RecomputedState,
    offsets: Mapping[TopicPartition, int],
) -> DocumentsByPartition:
    """Each profile's memberships from its last transitions, so that numbers go on where they were and nobody enters anew.

    A profile that is no more but still shown has a document too: it is yet to be evaluated. So has one that is in a group: it must
    know which, to say so when it leaves.
    """
    by_profile: dict[str, Membership] = {}
    moved_segments: dict[str, set[str]] = {}
    for profile_id, segment, seq, op, at_ms, cause in rows:
        document = by_profile.setdefault(profile_id, Membership(segments={}))
        document.segments[segment] = SegmentState(member=op == "entered", seq=seq, since_ms=at_ms)
        if op == "exited" and cause in ("merge", "split"):
            moved_segments.setdefault(profile_id, set()).add(segment)
    for profile_id, (joined, seq) in history.contributed.items():
        document = by_profile.setdefault(profile_id, Membership(segments={}))
        document.groups, document.group_seq = joined, seq
    dissolved = {
        name: target_profile
        for name in by_profile.keys() | history.shown
        if (target_profile := _dissolved_into(name, rebuilt, recomputed))
    }
    for profile_id in history.shown & dissolved.keys():
        by_profile.setdefault(profile_id, Membership(segments={}))
    documents: DocumentsByPartition = {topic_partition: {} for topic_partition in offsets}
    for profile_id, document in by_profile.items():
        members = document.active_segments()
        if profile_id in dissolved and not members and profile_id not in history.shown:
            document.dissolved_into = dissolved[profile_id]
            document.formerly = tuple(sorted(moved_segments.get(profile_id, ())))
        else:
            document.formerly = tuple(sorted(members))
        document.label_version = _evaluated_version(profile_id, rebuilt, history, is_alive=profile_id not in dissolved)
        topic_partition = topic_partition_of(offsets, profile_id)
        documents[topic_partition]["membership", profile_id] = GuardedDocument(
            encode_membership(document), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


def group_documents(contributions: Iterable[GroupRecord], offsets: Mapping[TopicPartition, int]) -> DocumentsByPartition:
    """Every group's document, from all that was said of groups."""
    documents: DocumentsByPartition = {topic_partition: {} for topic_partition in offsets}
    for name, document in documents_from_records(contributions).items():
        topic_partition = topic_partition_of(offsets, name)
        documents[topic_partition]["group", name] = GuardedDocument(
            encode_group(document), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


def _dissolved_into(profile_id: str, rebuilt: RebuiltIdentities, recomputed: RecomputedState) -> str:
    """Where a profile went that is no more, empty when it is alive."""
    entry = rebuilt.members.get(profile_id, Members((profile_id,), 0))
    if entry.merged_into:
        return entry.merged_into
    return "" if any(node in recomputed.state.fragments for node in entry.nodes) else DISSOLVED_INTO_MANY


def _evaluated_version(profile_id: str, rebuilt: RebuiltIdentities, history: ProfileHistory, *, is_alive: bool) -> int:
    """The version of the member list that the profile's memberships stand for: the new one if it was evaluated since its last
    change. One that is no more counts for others by when it went."""
    evaluated = history.evaluated.get(profile_id, 0)
    if not is_alive or profile_id not in rebuilt.unchanged or evaluated < history.profiles[profile_id].version:
        return evaluated
    return rebuilt.members[profile_id].version


def split_writes(writes: Writes) -> Iterator[Writes]:
    """The same writes in handy pieces."""
    yield from (Writes(documents=part) for part in _dict_chunks(writes.documents))
    yield from (Writes(labels=part) for part in _dict_chunks(writes.labels))
    yield from (Writes(members=part) for part in _dict_chunks(writes.members))
    yield from (Writes(edges=part) for part in _dict_chunks(writes.edges))
    yield from (Writes(decisions=part) for part in _dict_chunks(writes.decisions))


def _dict_chunks(entries: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    remaining = iter(entries.items())
    while part := dict(islice(remaining, CHUNK)):
        yield part
