"""The contents of a rebuilt profile store, as writes by topic partition. Pure.

**Why.** A rebuilt store must not only have the right state, it must continue the old one: nobody may enter a segment anew,
numbers of transitions must go on growing, and a record that is read again must be refused. All of that is decided here, from
the records that ClickHouse has consumed.

**Invariant.** Every document is guarded at the last offset that its partition stands for. Label versions are larger than any
version before. A member list that is the same as the last published one keeps its cause and its instant, so that `why` still
gives the old answer.

**Example.** Profile P has the nodes a and b since March (cause: merge, version 40), and the newest version anywhere is 57.
The evidence still joins a and b, so P's member list is written with version 58, cause merge and the instant of March. P was
last evaluated at version 41, after that merge, so its memberships are marked as evaluated at 58: the segment agent treats
nobody as moved. Had P been evaluated at version 39, before the merge, the mark would stay 39, and the agent would handle the
merge now, as it would have without the rebuild.
"""

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
from domain.segments.retained_names import COMMON_NAMES, RetainedNames
from profile_store.port import DocumentKind, GuardedDocument, TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from schemas.records import GroupRecord

CHUNK: Final = 500
"""Entries of one write, and records of one send."""
DocumentsByPartition = dict[TopicPartition, dict[tuple[DocumentKind, str], GuardedDocument]]
"""Guarded documents by the topic partition whose agent owns them."""


@dataclass(frozen=True, slots=True)
class RefillOffsets:
    """The topic partitions of the four agents that keep state, each with the next offset that its refilled state stands for."""

    events: Mapping[TopicPartition, int]
    links: Mapping[TopicPartition, int]
    touched: Mapping[TopicPartition, int]
    groups: Mapping[TopicPartition, int] = field(default_factory=dict)

    def by_topic_partition(self) -> dict[TopicPartition, int]:
        """Return the offsets of all four topics together."""
        return {**self.events, **self.links, **self.touched, **self.groups}


def topic_partition_of(offsets: Mapping[TopicPartition, int], key: str) -> TopicPartition:
    """Return the topic partition that records with this key are in."""
    # The producers' own partitioner: a document in another partition would be guarded by offsets that its agent never compares.
    by_partition = {topic_partition.partition: topic_partition for topic_partition in offsets}
    return by_partition[partition_of(key.encode(), len(by_partition))]


def fragment_documents(recomputed: RecomputedState, offsets: Mapping[TopicPartition, int]) -> DocumentsByPartition:
    """Return every owner's fragment, guarded so that events before its partition's offset are refused when they come again."""
    documents: DocumentsByPartition = {topic_partition: {} for topic_partition in offsets}
    for owner, fragment in recomputed.state.fragments.items():
        topic_partition = topic_partition_of(offsets, owner)
        # A guard is the last offset that was applied, and `offsets` has the next one to apply.
        documents[topic_partition]["fragment", owner] = GuardedDocument(
            encode_fragment(fragment), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


@dataclass(frozen=True, slots=True)
class ProfileHistory:
    """What was published about profiles before the rebuild, as ClickHouse has it.

    `labels` are the profile ids by node. `profiles` are the last published member lists. `evaluated` is by profile the version of
    the member list at its last evaluation. `shown` are the profiles whose read model is not deleted. `contributed` is by profile
    the hash of its contribution to each group, and the number of the last one.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, Members] = field(default_factory=dict)
    evaluated: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[str] = frozenset()
    contributed: Mapping[str, tuple[dict[str, str], int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RebuiltIdentities:
    """The new labels and member lists, and the profiles whose member list is the same as the last published one."""

    labels: dict[str, Label]
    members: dict[str, Members]
    unchanged: frozenset[str]


def rebuild_identities(recomputed: RecomputedState, history: ProfileHistory, version: int, now_ms: int) -> RebuiltIdentities:
    """Return labels and members of every profile that is linked or ever was, at `version`, which is larger than any before.

    A member list that is the same as the last published one keeps its cause and instant. Another one has the cause `rebuild`.
    """
    # A node that was labelled and has no evidence any more is its own profile again, and must be written as such.
    target_labels = dict.fromkeys(history.labels, "") | recomputed.state.labels
    # A node that was never linked gets no label: without one, every reader takes it for a profile of its own.
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
        # A node without members of its own is in the profile of its label: readers of the old id follow `merged_into`.
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
    """Return each profile's memberships from its last transitions, so that numbers go on where they were and nobody enters anew.

    `rows` are the last transition of each profile and segment. A dissolved profile whose read model is still shown gets a
    document too, because its last evaluation is yet to come. So does a profile that contributes to a group: it must know the
    group, to take the contribution back when it leaves.
    """
    by_profile: dict[str, Membership] = {}
    moved_segments: dict[str, set[str]] = {}
    for profile_id, segment, seq, op, at_ms, cause in rows:
        document = by_profile.setdefault(profile_id, Membership(segments={}))
        document.segments[segment] = SegmentState(member=op == "entered", seq=seq, since_ms=at_ms)
        # Such an exit handed the membership over to another profile. Any other exit ended it.
        if op == "exited" and cause in ("merge", "split"):
            moved_segments.setdefault(profile_id, set()).add(segment)
    for profile_id, (joined, seq) in history.contributed.items():
        document = by_profile.setdefault(profile_id, Membership(segments={}))
        document.emitted_group_hashes, document.group_seq = joined, seq
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
        # It has exited everywhere and its read model is deleted, so nothing is left to do for it. Any other dissolved profile
        # keeps its memberships, because its last evaluation must still publish the exits and the deletion.
        if profile_id in dissolved and not members and profile_id not in history.shown:
            document.dissolved_into = dissolved[profile_id]
            # It left these segments by a merge or a split, so its successors do not enter them: they have been in all along.
            document.previous_segments = tuple(sorted(moved_segments.get(profile_id, ())))
        else:
            document.previous_segments = tuple(sorted(members))
        document.label_version = _evaluated_version(profile_id, rebuilt, history, is_alive=profile_id not in dissolved)
        topic_partition = topic_partition_of(offsets, profile_id)
        documents[topic_partition]["membership", profile_id] = GuardedDocument(
            encode_membership(document), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


def group_documents(
    contributions: Iterable[GroupRecord], offsets: Mapping[TopicPartition, int], retained: RetainedNames = COMMON_NAMES
) -> DocumentsByPartition:
    """Return every group's document, from all contributions that were published; `retained` are the names that stay."""
    documents: DocumentsByPartition = {topic_partition: {} for topic_partition in offsets}
    for name, document in documents_from_records(contributions, retained).items():
        topic_partition = topic_partition_of(offsets, name)
        documents[topic_partition]["group", name] = GuardedDocument(
            encode_group(document), topic_partition.guard_name, offsets[topic_partition] - 1
        )
    return documents


def _dissolved_into(profile_id: str, rebuilt: RebuiltIdentities, recomputed: RecomputedState) -> str:
    """Return the profile that a dissolved one went into, DISSOLVED_INTO_MANY for several, and "" for one that exists."""
    entry = rebuilt.members.get(profile_id, Members((profile_id,), 0))
    if entry.merged_into:
        return entry.merged_into
    return "" if any(node in recomputed.state.fragments for node in entry.nodes) else DISSOLVED_INTO_MANY


def _evaluated_version(profile_id: str, rebuilt: RebuiltIdentities, history: ProfileHistory, *, is_alive: bool) -> int:
    """Return the version of the member list that the profile's memberships stand for.

    It is the new version if the profile was evaluated after its member list last changed, and else the old one: then the segment
    agent still has to handle that change. A dissolved profile keeps the version of its last evaluation, because the profile that
    took its members over compares that version with its own to find out whether it has inherited the memberships already.
    """
    evaluated = history.evaluated.get(profile_id, 0)
    if not is_alive or profile_id not in rebuilt.unchanged or evaluated < history.profiles[profile_id].version:
        return evaluated
    return rebuilt.members[profile_id].version


def split_writes(writes: Writes) -> Iterator[Writes]:
    """Split writes into parts of at most CHUNK entries: one call with millions of entries would exceed the store's time-out."""
    yield from (Writes(documents=part) for part in _dict_chunks(writes.documents))
    yield from (Writes(labels=part) for part in _dict_chunks(writes.labels))
    yield from (Writes(members=part) for part in _dict_chunks(writes.members))
    yield from (Writes(edges=part) for part in _dict_chunks(writes.edges))
    yield from (Writes(decisions=part) for part in _dict_chunks(writes.decisions))


def _dict_chunks(entries: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    remaining = iter(entries.items())
    while part := dict(islice(remaining, CHUNK)):
        yield part
