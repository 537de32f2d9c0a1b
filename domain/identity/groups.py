"""Accounts and households: what a profile contributes to each, and the document of one group as a join of contributions. Pure.

The segment agent computes what a profile contributes and publishes it on `groups` when it has changed. The group agent joins these
records into one document per group. Invariant: any order and duplication of the records gives the same document, because traits
join by the larger (trust, time, message hash) and of each profile's contributions the one with the largest sequence number counts.

Example: profile p contributes 2 orders with sequence number 5, and later leaves with number 8. If the record with number 5 arrives
again, it finds number 8 and changes nothing, so p is not counted twice and does not come back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.identity.households import group_id, group_kind, household_ids
from domain.identity.rules import HouseholdRules
from domain.profiles.bounds import retain_traits
from domain.profiles.fragment import supersedes
from domain.profiles.join import JoinedProfile
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import GroupFacts, ProfileFacts
from domain.segments.retained_names import COMMON_NAMES, RetainedNames
from schemas.codec import encode as encode_record
from schemas.hashes import short_hash
from schemas.records import GroupKind, GroupRecord, TraitValue

MAX_LISTED_MEMBERS: Final[Mapping[GroupKind, int]] = {"account": 10_000, "household": 1_000}
"""How many members a document lists. A larger group is sampled: only members whose id ends in `depth` zero bits are listed; each
counts 2^depth times. When the group changes, listed members are evaluated at once and the others at their next event."""
MAX_DEPARTED: Final = 256
"""How many departed members a document remembers, so that an older contribution of theirs that arrives late does not count."""


class Contribution(msgspec.Struct, array_like=True, frozen=True):
    """What one profile contributes, from its record with the sequence number `seq`; `present` is false once it has left."""

    seq: int
    present: bool
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}


class GroupDocument(msgspec.Struct):
    """The document of one group. `apply_group_records` changes it in place, so a document belongs to the slice that decoded it.

    Attributes:
        version: the version of this layout.
        name: the `groupId` of an account; empty for a household.
        traits: the traits of an account, each with the event that set it.
        size: the number of members; an estimate when there are more than MAX_LISTED_MEMBERS.
        depth: how often the list of members was halved.
        contributions: the contribution of each listed or departed member, by profile id.
    """

    version: int = 1
    name: str = ""
    traits: dict[str, TraitValue] = {}
    size: int = 0
    depth: int = 0
    contributions: dict[str, Contribution] = {}

    def members(self) -> list[str]:
        """Return the profile ids of the listed members in ascending order."""
        return sorted(profile_id for profile_id, contribution in self.contributions.items() if contribution.present)


def apply_group_records(group: GroupDocument, records: Iterable[GroupRecord], retained: RetainedNames = COMMON_NAMES) -> None:
    """Join records of one group into its document, in place. The order of the records does not matter.

    An account has as many traits as a fragment may have; those in `retained` stay.
    """
    max_members = MAX_LISTED_MEMBERS["account"]
    for record in records:
        max_members = MAX_LISTED_MEMBERS[record.kind]
        # A departure has no name, so the name of the latest record would depend on the order of arrival.
        group.name = max(group.name, record.name)
        if record.profile_id:
            _apply_contribution(group, record)
            continue
        for name, trait in record.traits.items():
            if supersedes(trait, group.traits.get(name)):
                group.traits[name] = trait
        retain_traits(group.traits, retained)
    _enforce_limits(group, max_members)
    group.size = sum(contribution.present for contribution in group.contributions.values()) << group.depth


def _apply_contribution(group: GroupDocument, record: GroupRecord) -> None:
    previous = group.contributions.get(record.profile_id)
    if not _is_sampled(record.profile_id, group.depth) or (previous is not None and previous.seq >= record.seq):
        return
    # A member that left stays as an entry without content: its number refuses older records of the member that arrive late.
    group.contributions[record.profile_id] = Contribution(
        record.seq, record.present, record.traits if record.present else {}, record.counters if record.present else {}
    )


def _is_sampled(profile_id: str, depth: int) -> bool:
    """Return whether a member is listed at this depth. Ids are hashes, so half of the members drop out at each further depth."""
    # The end of the id, because its first character is the rank of a namespace and is the same for most members.
    return int(profile_id[-8:], 16) & ((1 << depth) - 1) == 0


def _enforce_limits(group: GroupDocument, max_members: int) -> None:
    if len(group.contributions) <= min(max_members, MAX_DEPARTED):
        return
    departed = sorted((contribution.seq, name) for name, contribution in group.contributions.items() if not contribution.present)
    # The smallest numbers go first. Numbers are at least the time in ms, so these members left longest ago, and an older record
    # of theirs is the least likely to arrive still.
    for _, name in departed[:-MAX_DEPARTED]:
        del group.contributions[name]
    # The sample depends on the ids alone and the depth only grows, so any order of records ends with the same list.
    while sum(contribution.present for contribution in group.contributions.values()) > max_members:
        group.depth += 1
        group.contributions = {
            name: contribution for name, contribution in group.contributions.items() if _is_sampled(name, group.depth)
        }


def account_facts(group: GroupDocument) -> GroupFacts:
    """Return what segments see of an account."""
    return GroupFacts({name: trait.value for name, trait in group.traits.items() if trait.value is not None}, group.size)


def household_facts(group: GroupDocument, rule: HouseholdRules | None) -> GroupFacts | None:
    """Return what segments see of a household, or None when the rules do not count this group as a household."""
    size = group.size
    if rule is None or not 2 <= size <= rule.max_members:
        return None
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}
    for contribution in group.contributions.values():
        for name, trait in contribution.traits.items():
            if name in rule.shared_traits and supersedes(trait, traits.get(name)):
                traits[name] = trait
        for label, count in contribution.counters.items():
            counters[label] = counters.get(label, 0) + count
    return GroupFacts({name: traits[name].value for name in sorted(traits)}, size, counters)


def leaf_results(group: str, document: GroupDocument, plan: SegmentPlan, rule: HouseholdRules | None) -> tuple[bool, ...]:
    """Return the result of every condition of the plan about this group.

    While the result stays the same, no change of the group can change a membership, and no member need be evaluated.
    """
    if group_kind(group) == "account":
        account = account_facts(document)
        return tuple(condition.matches_group(account) for condition in plan.group_conditions["account"])
    household = household_facts(document, rule)
    if household is None:
        return ()
    # The leading True tells a household that meets no condition from a group that does not count as a household.
    return (True, *(condition.matches_group(household) for condition in plan.group_conditions["household"]))


def groups_needed_by(plan: SegmentPlan, contributions: Mapping[str, GroupRecord]) -> list[str]:
    """Return the groups of a profile that conditions of the plan refer to."""
    return [name for name, record in contributions.items() if plan.group_conditions[record.kind]]


def build_profile_facts(
    joined: JoinedProfile,
    contributions: Mapping[str, GroupRecord],
    documents: Mapping[str, GroupDocument],
    rule: HouseholdRules | None,
    profile_id: str,
    nodes: Collection[str],
) -> ProfileFacts:
    """Return what segments see of a profile and its groups.

    `documents` are those of `groups_needed_by`, and `nodes` the members of the profile. Of the households that the profile belongs
    to, the first one that counts as a household by the rules is the person's household.
    """
    accounts, households = [], []
    for name, record in contributions.items():
        if name not in documents:
            continue
        if record.kind == "account":
            accounts.append(account_facts(documents[name]))
        elif (household := household_facts(documents[name], rule)) is not None:
            households.append(household)
    return ProfileFacts(
        traits=joined.traits,
        register_entries=joined.register_entries,
        tallies=joined.tallies,
        accounts=accounts,
        household=households[0] if households else None,
        profile_id=profile_id,
        nodes=nodes,
        namespaces={namespace for namespace, _ in joined.event_identifiers},
    )


def profile_contributions(
    joined: JoinedProfile, profile_id: str, plan: SegmentPlan, rule: HouseholdRules | None, secret: bytes
) -> dict[str, GroupRecord]:
    """Return what a profile contributes to each of its groups, by group id.

    Accounts come first, then households by the strongest matching key. Counters are cut off at what household conditions ask for,
    so a customer's hundredth order publishes nothing when no condition asks for more than three.
    """
    by_group: dict[str, GroupRecord] = {}
    for name in joined.accounts:
        account = group_id(secret, "account", name)
        by_group[account] = GroupRecord(group_id=account, kind="account", name=name, profile_id=profile_id)
    if rule is None:
        return by_group
    shared = ((name, joined.trait_values[name]) for name in sorted(rule.shared_traits) if name in joined.trait_values)
    traits = {name: trait for name, trait in shared if trait.value is not None}
    limited_counters = (
        (label, min(joined.counters.get(label, 0), limit)) for label, limit in sorted(plan.household_limits.items())
    )
    counters = {label: count for label, count in limited_counters if count}
    for rank, household in enumerate(household_ids(joined, rule, secret)):
        by_group[household] = GroupRecord(
            group_id=household, kind="household", profile_id=profile_id, rank=rank, max_members=rule.max_members, traits=traits,
            counters=counters,
        )  # fmt: skip
    return by_group


@dataclass(frozen=True, slots=True)
class GroupContributions:
    """The contributions of a profile that must be published.

    `records` are those that changed, `emitted_hashes` the hash of the present contribution to each group, `seq` the sequence number
    of the latest change.
    """

    records: tuple[GroupRecord, ...]
    emitted_hashes: dict[str, str]
    seq: int


def changed_contributions(
    emitted_hashes: Mapping[str, str], seq: int, current: Mapping[str, GroupRecord], profile_id: str, now_ms: int
) -> GroupContributions:
    """Return the contributions that differ from those published last, and a departure for each group that the profile has left."""
    # Hashed before the number and the time are set: with them every evaluation would look like a change.
    groups = {name: short_hash(encode_record(record).decode()) for name, record in current.items()}
    changed = [record for name, record in current.items() if emitted_hashes.get(name) != groups[name]]
    departures = [
        GroupRecord(group_id=name, kind=group_kind(name), profile_id=profile_id, present=False)
        for name in sorted(emitted_hashes.keys() - current.keys())
    ]
    if not (changed or departures):
        return GroupContributions((), groups, seq)
    # At least the time: if the membership document is lost, numbers do not start again below those that groups have seen.
    seq = max(seq + 1, now_ms)
    records = tuple(msgspec.structs.replace(record, seq=seq, at_ms=now_ms) for record in (*changed, *departures))
    return GroupContributions(records, groups, seq)


def documents_from_records(records: Iterable[GroupRecord], retained: RetainedNames = COMMON_NAMES) -> dict[str, GroupDocument]:
    """Return the documents that these records make, by group id; used when a lost store is rebuilt."""
    by_group: dict[str, list[GroupRecord]] = {}
    for record in records:
        by_group.setdefault(record.group_id, []).append(record)
    documents = {name: GroupDocument() for name in by_group}
    for name, document in documents.items():
        apply_group_records(document, by_group[name], retained)
    return documents


def membership_groups_from_records(records: Iterable[GroupRecord]) -> dict[str, tuple[dict[str, str], int]]:
    """Return what a rebuilt membership document must remember of published contributions, by profile id: hashes and number.

    The hashes are unknown and left empty. So the next evaluation of a profile publishes all its contributions again, and the
    departure from each group that it is no longer in.
    """
    by_profile: dict[str, tuple[dict[str, str], int]] = {}
    latest_records: dict[tuple[str, str], GroupRecord] = {}
    for record in records:
        previous = latest_records.get((record.profile_id, record.group_id))
        if record.profile_id and (previous is None or record.seq > previous.seq):
            latest_records[record.profile_id, record.group_id] = record
    for (profile_id, name), record in latest_records.items():
        groups, seq = by_profile.get(profile_id, ({}, 0))
        by_profile[profile_id] = (groups | {name: ""} if record.present else groups, max(seq, record.seq))
    return by_profile


class _GroupSummary(msgspec.Struct):
    traits: dict[str, TraitValue]
    size: int


_SUMMARY_DECODER: Final = msgspec.msgpack.Decoder(_GroupSummary)
_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(GroupDocument)


def encode_group(group: GroupDocument) -> bytes:
    """Return the document as MessagePack; equal states have equal bytes."""
    return _ENCODER.encode(group)


def decode_group_summary(name: str, data: bytes | None) -> GroupDocument:
    """Return a document with what segments need; the contributions to an account, perhaps thousands, are not decoded."""
    if data is None or group_kind(name) == "household":  # `household_facts` reads the contributions
        return decode_group(data)
    summary = _SUMMARY_DECODER.decode(data)
    return GroupDocument(traits=summary.traits, size=summary.size)


def decode_group(data: bytes | None) -> GroupDocument:
    """Return the document in these bytes, or an empty document for None."""
    return GroupDocument() if data is None else _DECODER.decode(data)
