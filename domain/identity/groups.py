"""Accounts and households: what a profile contributes to each, and the document of one group as a join of contributions. Pure.

Traits of an account join by (time, id) as a person's do; of what a profile contributed the largest number holds. So any order and
duplication gives the same document.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.identity.households import group_id, households_of, kind_of
from domain.profiles.fragment import Joined, Trait, wins
from schemas.codec import encode as encode_record
from schemas.hashes import short_hash
from schemas.records import Grouped, GroupKind
from domain.segments.evaluate import group_holds
from domain.segments.profile_facts import Facts
from domain.segments.profile_facts import Group as Seen
from domain.identity.rules import HouseholdRules
from domain.segments.plan import Plan

MOST: Final[Mapping[GroupKind, int]] = {"account": 10_000, "household": 1_000}
"""How many members a document lists. A larger group is sampled: of its members those whose id ends in `depth` zero bits are kept,
and each counts 2^depth times. Only those are looked at again when the group changes; the others are at their next event."""
MAX_GONE: Final = 256
"""How many of those that left are remembered, so that what they contributed before and is said again late does not count."""


class Contribution(msgspec.Struct, array_like=True, frozen=True):
    """What one profile contributed, by the record with the number `seq`."""

    seq: int
    present: bool
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}


class Group(msgspec.Struct):
    """The document of one group. `fold` changes it in place: it belongs to the slice that decoded it.

    `size` is how many members there are; an estimate once there are more than are listed (see MOST).
    """

    version: int = 1
    name: str = ""
    traits: dict[str, Trait] = {}
    size: int = 0
    depth: int = 0
    contributions: dict[str, Contribution] = {}

    def members(self) -> list[str]:
        """The profiles that are listed, in order."""
        return sorted(profile_id for profile_id, held in self.contributions.items() if held.present)


def fold(group: Group, records: Iterable[Grouped]) -> None:
    """Join records into their group, in any order."""
    most = MOST["account"]
    for said in records:
        most = MOST[said.kind]
        group.name = max(group.name, said.name)
        if said.profile_id:
            _contribute(group, said)
            continue
        for name, register in said.traits.items():
            trait = Trait(*register)
            if wins(trait, group.traits.get(name)):
                group.traits[name] = trait
    _bound(group, most)
    group.size = sum(held.present for held in group.contributions.values()) << group.depth


def _contribute(group: Group, said: Grouped) -> None:
    held = group.contributions.get(said.profile_id)
    if not _sampled(said.profile_id, group.depth) or (held is not None and held.seq >= said.seq):
        return
    traits = {name: Trait(*register) for name, register in said.traits.items()} if said.present else {}
    group.contributions[said.profile_id] = Contribution(said.seq, said.present, traits, said.counters if said.present else {})


def _sampled(profile_id: str, depth: int) -> bool:
    return int(profile_id[-8:], 16) & ((1 << depth) - 1) == 0


def _bound(group: Group, most: int) -> None:
    if len(group.contributions) <= min(most, MAX_GONE):
        return
    gone = sorted((held.seq, name) for name, held in group.contributions.items() if not held.present)
    for _, name in gone[:-MAX_GONE]:
        del group.contributions[name]
    while sum(held.present for held in group.contributions.values()) > most:
        group.depth += 1
        group.contributions = {name: held for name, held in group.contributions.items() if _sampled(name, group.depth)}


def account_seen(group: Group) -> Seen:
    """What segments see of an account."""
    return Seen({name: trait.value for name, trait in group.traits.items() if trait.value is not None}, group.size)


def household_seen(group: Group, rule: HouseholdRules | None) -> Seen | None:
    """What segments see of a household; None when nobody is one by these rules."""
    size = group.size
    if rule is None or not 2 <= size <= rule.max_members:
        return None
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}
    for held in group.contributions.values():
        for name, trait in held.traits.items():
            if name in rule.shared_traits and wins(trait, traits.get(name)):
                traits[name] = trait
        for label, count in held.counters.items():
            counters[label] = counters.get(label, 0) + count
    return Seen({name: traits[name].value for name in sorted(traits)}, size, counters)


def verdicts(group: str, document: Group, plan: Plan, rule: HouseholdRules | None) -> tuple[bool, ...]:
    """All that the plan's segments can tell of a group: when this stays the same, nobody's membership changes by it."""
    if kind_of(group) == "account":
        account = account_seen(document)
        return tuple(group_holds(leaf, account) for leaf in plan.account_leaves)
    household = household_seen(document, rule)
    if household is None:
        return ()
    return (True, *(group_holds(leaf, household) for leaf in plan.household_leaves))


def seen_by(plan: Plan, contributes: Mapping[str, Grouped]) -> list[str]:
    """The groups of a profile that its segments look at."""
    return [
        name for name, said in contributes.items() if (plan.account_leaves if said.kind == "account" else plan.household_leaves)
    ]


def facts(
    joined: Joined,
    contributes: Mapping[str, Grouped],
    documents: Mapping[str, Group],
    rule: HouseholdRules | None,
    profile_id: str,
    nodes: Collection[str],
) -> Facts:
    """What segments look at. The household is the first that is one; `documents` are those of `seen_by`, `nodes` the members."""
    accounts, households = [], []
    for name, said in contributes.items():
        if name not in documents:
            continue
        if said.kind == "account":
            accounts.append(account_seen(documents[name]))
        elif (household := household_seen(documents[name], rule)) is not None:
            households.append(household)
    return Facts(
        traits=joined.traits,
        kept=joined.kept,
        tallies=joined.tallies,
        accounts=accounts,
        household=households[0] if households else None,
        profile_id=profile_id,
        nodes=nodes,
        named={namespace for namespace, _ in joined.named},
    )


def contributions(joined: Joined, profile_id: str, plan: Plan, rule: HouseholdRules | None, secret: bytes) -> dict[str, Grouped]:
    """What a profile contributes to each of its groups, by group id; accounts first, then households, the strongest sign first."""
    found: dict[str, Grouped] = {}
    for name in joined.accounts:
        account = group_id(secret, "account", name)
        found[account] = Grouped(group_id=account, kind="account", name=name, profile_id=profile_id)
    if rule is None:
        return found
    shared = ((name, joined.registers[name]) for name in sorted(rule.shared_traits) if name in joined.registers)
    traits = {name: (trait.value, trait.time_ms, trait.id) for name, trait in shared if trait.value is not None}
    counted = ((label, min(joined.counters.get(label, 0), most)) for label, most in sorted(plan.household_limits.items()))
    counters = {label: count for label, count in counted if count}
    for rank, household in enumerate(households_of(joined, rule, secret)):
        found[household] = Grouped(
            group_id=household, kind="household", profile_id=profile_id, rank=rank, most=rule.max_members, traits=traits,
            counters=counters,
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a profile's groups: the records of what changed; what has been said of which, by hash; the last number."""

    records: tuple[Grouped, ...]
    groups: dict[str, str]
    seq: int


def say(held: Mapping[str, str], seq: int, now: Mapping[str, Grouped], profile_id: str, now_ms: int) -> Said:
    """The difference between what was said and what is so now; a group that the profile is no longer in hears that it left."""
    groups = {name: short_hash(encode_record(record).decode()) for name, record in now.items()}
    changed = [record for name, record in now.items() if held.get(name) != groups[name]]
    left = [
        Grouped(group_id=name, kind=kind_of(name), profile_id=profile_id, present=False)
        for name in sorted(held.keys() - now.keys())
    ]
    if not (changed or left):
        return Said((), groups, seq)
    seq = max(seq + 1, now_ms)
    records = tuple(msgspec.structs.replace(record, seq=seq, at_ms=now_ms) for record in (*changed, *left))
    return Said(records, groups, seq)


def replayed(records: Iterable[Grouped]) -> dict[str, Group]:
    """The documents that these records make, in any order: what a lost store is filled with again."""
    by_group: dict[str, list[Grouped]] = {}
    for said in records:
        by_group.setdefault(said.group_id, []).append(said)
    found = {name: Group() for name in by_group}
    for name, document in found.items():
        fold(document, by_group[name])
    return found


def held_by(records: Iterable[Grouped]) -> dict[str, tuple[dict[str, str], int]]:
    """What a membership document that is made anew must know of what was said, by profile id: `groups` and `group_seq`.

    The hashes are unknown, so whoever is evaluated next says all of it again, and leaves what it is no longer in.
    """
    found: dict[str, tuple[dict[str, str], int]] = {}
    newest: dict[tuple[str, str], Grouped] = {}
    for said in records:
        held = newest.get((said.profile_id, said.group_id))
        if said.profile_id and (held is None or said.seq > held.seq):
            newest[said.profile_id, said.group_id] = said
    for (profile_id, name), said in newest.items():
        groups, seq = found.get(profile_id, ({}, 0))
        found[profile_id] = (groups | {name: ""} if said.present else groups, max(seq, said.seq))
    return found


class _Glance(msgspec.Struct):
    traits: dict[str, Trait]
    size: int


_GLANCE: Final = msgspec.msgpack.Decoder(_Glance)
_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Group)


def encode(group: Group) -> bytes:
    """The document as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(group)


def glance(name: str, data: bytes | None) -> Group:
    """A document as far as segments look at it: the contributions to an account, thousands perhaps, are not read."""
    if data is None or kind_of(name) == "household":
        return decode(data)
    seen = _GLANCE.decode(data)
    return Group(traits=seen.traits, size=seen.size)


def decode(data: bytes | None) -> Group:
    """A document from its bytes; a new one when there are none yet."""
    return Group() if data is None else _DECODER.decode(data)
