"""Accounts and households: what a profile contributes to each, and the document of one group as a join of contributions. Pure.

Traits of an account join by (time, id) as a person's do; of what a profile contributed the largest number holds. So any order and
duplication gives the same document.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.identity.households import group_id, group_kind, household_ids
from domain.identity.rules import HouseholdRules
from domain.profiles.fragment import TraitValue, supersedes
from domain.profiles.join import JoinedProfile
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import GroupFacts, ProfileFacts
from schemas.codec import encode as encode_record
from schemas.hashes import short_hash
from schemas.records import GroupKind, GroupRecord

MAX_LISTED_MEMBERS: Final[Mapping[GroupKind, int]] = {"account": 10_000, "household": 1_000}
"""How many members a document lists. A larger group is sampled: of its members those whose id ends in `depth` zero bits are kept,
and each counts 2^depth times. Only those are looked at again when the group changes; the others are at their next event."""
MAX_DEPARTED: Final = 256
"""How many of those that left are remembered, so that what they contributed before and is said again late does not count."""


class Contribution(msgspec.Struct, array_like=True, frozen=True):
    """What one profile contributed, by the record with the number `seq`."""

    seq: int
    present: bool
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}


class GroupDocument(msgspec.Struct):
    """The document of one group. `apply_group_records` changes it in place: it belongs to the slice that decoded it.

    `size` is how many members there are; an estimate once there are more than are listed (see MOST).
    """

    version: int = 1
    name: str = ""
    traits: dict[str, TraitValue] = {}
    size: int = 0
    depth: int = 0
    contributions: dict[str, Contribution] = {}

    def members(self) -> list[str]:
        """The profiles that are listed, in order."""
        return sorted(profile_id for profile_id, contribution in self.contributions.items() if contribution.present)


def apply_group_records(group: GroupDocument, records: Iterable[GroupRecord]) -> None:
    """Join records into their group, in any order."""
    max_members = MAX_LISTED_MEMBERS["account"]
    for record in records:
        max_members = MAX_LISTED_MEMBERS[record.kind]
        group.name = max(group.name, record.name)
        if record.profile_id:
            _apply_contribution(group, record)
            continue
        for name, register in record.traits.items():
            trait = TraitValue(*register)
            if supersedes(trait, group.traits.get(name)):
                group.traits[name] = trait
    _enforce_limits(group, max_members)
    group.size = sum(contribution.present for contribution in group.contributions.values()) << group.depth


def _apply_contribution(group: GroupDocument, record: GroupRecord) -> None:
    previous = group.contributions.get(record.profile_id)
    if not _is_sampled(record.profile_id, group.depth) or (previous is not None and previous.seq >= record.seq):
        return
    traits = {name: TraitValue(*register) for name, register in record.traits.items()} if record.present else {}
    group.contributions[record.profile_id] = Contribution(
        record.seq, record.present, traits, record.counters if record.present else {}
    )


def _is_sampled(profile_id: str, depth: int) -> bool:
    return int(profile_id[-8:], 16) & ((1 << depth) - 1) == 0


def _enforce_limits(group: GroupDocument, max_members: int) -> None:
    if len(group.contributions) <= min(max_members, MAX_DEPARTED):
        return
    departed = sorted((contribution.seq, name) for name, contribution in group.contributions.items() if not contribution.present)
    for _, name in departed[:-MAX_DEPARTED]:
        del group.contributions[name]
    while sum(held.present for held in group.contributions.values()) > max_members:
        group.depth += 1
        group.contributions = {name: held for name, held in group.contributions.items() if _is_sampled(name, group.depth)}


def account_facts(group: GroupDocument) -> GroupFacts:
    """What segments see of an account."""
    return GroupFacts({name: trait.value for name, trait in group.traits.items() if trait.value is not None}, group.size)


def household_facts(group: GroupDocument, rule: HouseholdRules | None) -> GroupFacts | None:
    """What segments see of a household; None when nobody is one by these rules."""
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
    """All that the plan's segments can tell of a group: when this stays the same, nobody's membership changes by it."""
    if group_kind(group) == "account":
        account = account_facts(document)
        return tuple(condition.matches_group(account) for condition in plan.group_conditions["account"])
    household = household_facts(document, rule)
    if household is None:
        return ()
    return (True, *(condition.matches_group(household) for condition in plan.group_conditions["household"]))


def groups_needed_by(plan: SegmentPlan, contributions: Mapping[str, GroupRecord]) -> list[str]:
    """The groups of a profile that its segments look at."""
    return [name for name, record in contributions.items() if plan.group_conditions[record.kind]]


def build_profile_facts(
    joined: JoinedProfile,
    contributions: Mapping[str, GroupRecord],
    documents: Mapping[str, GroupDocument],
    rule: HouseholdRules | None,
    profile_id: str,
    nodes: Collection[str],
) -> ProfileFacts:
    """What segments look at. The household is the first that is one; `documents` are those of `groups_needed_by`, `nodes` the
    members."""
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
    """What a profile contributes to each of its groups, by group id; accounts first, then households, the strongest sign first."""
    by_group: dict[str, GroupRecord] = {}
    for name in joined.accounts:
        account = group_id(secret, "account", name)
        by_group[account] = GroupRecord(group_id=account, kind="account", name=name, profile_id=profile_id)
    if rule is None:
        return by_group
    shared = ((name, joined.trait_values[name]) for name in sorted(rule.shared_traits) if name in joined.trait_values)
    traits = {name: (trait.value, trait.time_ms, trait.id) for name, trait in shared if trait.value is not None}
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
    """What is said of a profile's groups: the records of what changed; what has been said of which, by hash; the last number."""

    records: tuple[GroupRecord, ...]
    emitted_hashes: dict[str, str]
    seq: int


def changed_contributions(
    emitted_hashes: Mapping[str, str], seq: int, current: Mapping[str, GroupRecord], profile_id: str, now_ms: int
) -> GroupContributions:
    """The difference between what was said and what is so now; a group that the profile is no longer in hears that it left."""
    groups = {name: short_hash(encode_record(record).decode()) for name, record in current.items()}
    changed = [record for name, record in current.items() if emitted_hashes.get(name) != groups[name]]
    departures = [
        GroupRecord(group_id=name, kind=group_kind(name), profile_id=profile_id, present=False)
        for name in sorted(emitted_hashes.keys() - current.keys())
    ]
    if not (changed or departures):
        return GroupContributions((), groups, seq)
    seq = max(seq + 1, now_ms)
    records = tuple(msgspec.structs.replace(record, seq=seq, at_ms=now_ms) for record in (*changed, *departures))
    return GroupContributions(records, groups, seq)


def documents_from_records(records: Iterable[GroupRecord]) -> dict[str, GroupDocument]:
    """The documents that these records make, in any order: what a lost store is filled with again."""
    by_group: dict[str, list[GroupRecord]] = {}
    for record in records:
        by_group.setdefault(record.group_id, []).append(record)
    documents = {name: GroupDocument() for name in by_group}
    for name, document in documents.items():
        apply_group_records(document, by_group[name])
    return documents


def membership_groups_from_records(records: Iterable[GroupRecord]) -> dict[str, tuple[dict[str, str], int]]:
    """What a membership document that is made anew must know of what was said, by profile id: `groups` and `group_seq`.

    The hashes are unknown, so whoever is evaluated next says all of it again, and leaves what it is no longer in.
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
    """The document as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(group)


def decode_group_summary(name: str, data: bytes | None) -> GroupDocument:
    """A document as far as segments look at it: the contributions to an account, thousands perhaps, are not read."""
    if data is None or group_kind(name) == "household":
        return decode_group(data)
    summary = _SUMMARY_DECODER.decode(data)
    return GroupDocument(traits=summary.traits, size=summary.size)


def decode_group(data: bytes | None) -> GroupDocument:
    """A document from its bytes; a new one when there are none yet."""
    return GroupDocument() if data is None else _DECODER.decode(data)
