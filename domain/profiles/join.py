"""A profile as the join of its members' fragments. Pure.

Why a join: a join does not depend on the order and the grouping of its parts. So a merge only adds fragments to the join, a split
takes them out again, and after a merge that is undone the profile is the same, byte for byte (Merges move nothing).

Counters and tallies are added, which is safe because an event is applied to one fragment only. This is why each fragment must be
given once: unlike the other fields, a sum is not idempotent.

A profile has as many names as a fragment may have (`domain.profiles.bounds`): a customer of a thousand identifiers is no larger.

Example: the cookie's fragment has 2 orders and city = Hue set on day 3; the user's fragment has 1 order and city = Hanoi set on
day 5. Their profile has 3 orders and city = Hanoi. After a split the cookie's profile has 2 orders and city = Hue, as before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.profiles.bounds import (
    estimate_dropped_counters,
    estimate_dropped_identifiers,
    estimate_dropped_traits,
    retain_counters,
    retain_identifiers,
    retain_traits,
)
from domain.profiles.fragment import Fragment, retain_accounts, supersedes
from domain.segments.registers import Entry, Register, TallyCount, sum_tallies
from domain.segments.retained_names import COMMON_NAMES, RetainedNames
from schemas.records import TraitValue


@dataclass(frozen=True, slots=True)
class JoinedProfile:
    """A profile: the join of its members' fragments.

    Attributes:
        identifiers: namespace and value of the members, sorted.
        traits: the values of the traits, without removed ones, sorted by name.
        counters: the number of events by label, sorted by label.
        register_entries: the joined entries of each register by register key.
        tallies: the added counts of each tally register by register key.
        first_seen_ms: the time of the earliest event; 0 when there is none.
        last_seen_ms: the time of the latest event; 0 when there is none.
        event_identifiers: all identifiers that the events named, also those that belong to another profile or to nobody.
        trait_values: the traits with the event that set each, removed ones included.
        accounts: the accounts of the profile, sorted.
        dropped_names: about how many `traits`, `counters` and `identifiers` are not here but in ClickHouse alone.
    """

    identifiers: tuple[tuple[str, str], ...]
    traits: dict[str, Any]
    counters: dict[str, int]
    register_entries: dict[str, list[Entry]]
    tallies: dict[str, dict[str, TallyCount]]
    first_seen_ms: int
    last_seen_ms: int
    event_identifiers: tuple[tuple[str, str], ...] = ()
    trait_values: Mapping[str, TraitValue] = field(default_factory=dict)
    accounts: tuple[str, ...] = ()
    dropped_names: Mapping[str, int] = field(default_factory=dict)


def join_fragments(
    fragments: Iterable[Fragment],
    registers: Mapping[str, Register],
    members: Collection[str] | None = None,
    retained: RetainedNames = COMMON_NAMES,
) -> JoinedProfile:
    """Return the profile of these fragments, of which each must be given once.

    `registers` are the registers to join (`SegmentPlan.registers`); entries of other registers are left out. `members` are the
    nodes of the profile; with None every identifier that the events named counts as the profile's own. `retained` are the names
    that are kept whatever else there is (`SegmentPlan.retained`).
    """
    event_identifiers: dict[str, tuple[str, str]] = {}
    trusted_nodes: set[str] = set()
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}
    accounts: set[str] = set()
    trusted_accounts: set[str] = set()
    dropped: set[str] = set()
    first_seen_ms: int | None = None
    last_seen_ms = 0
    member_fragments = list(fragments)
    for fragment in member_fragments:
        event_identifiers.update(fragment.identifiers)
        trusted_nodes.update(fragment.identifiers.keys() - set(fragment.public_nodes))
        dropped.update(fragment.dropped)
        accounts.update(fragment.accounts)
        trusted_accounts.update(set(fragment.accounts).difference(fragment.public_accounts))
        for name, trait in fragment.traits.items():
            if supersedes(trait, traits.get(name)):
                traits[name] = trait
        for label, occurrences in fragment.counters.items():
            counters[label] = counters.get(label, 0) + occurrences
        if fragment.counters:  # a fragment with events of bots alone counts none, and its `first_ms` is still 0
            first_seen_ms = fragment.first_ms if first_seen_ms is None else min(first_seen_ms, fragment.first_ms)
        last_seen_ms = max(last_seen_ms, fragment.last_ms)
    # An event may name a node that is no member: a shared phone may belong to nobody, a cookie to the person who used it last.
    identifiers = {node: pair for node, pair in event_identifiers.items() if members is None or node in members}
    public_nodes = event_identifiers.keys() - trusted_nodes
    surplus = {
        "traits": retain_traits(traits, retained),
        "counters": retain_counters(counters, retained),
        "identifiers": retain_identifiers(identifiers, public_nodes),
    }
    dropped.update(kind for kind, number in surplus.items() if number)
    return JoinedProfile(
        identifiers=tuple(sorted(identifiers.values())),
        traits={name: traits[name].value for name in sorted(traits) if traits[name].value is not None},
        counters=dict(sorted(counters.items())),  # sorted, so that equal profiles have equal bytes in records
        register_entries=_join_entries(member_fragments, registers),
        tallies=_join_tallies(member_fragments, registers),
        first_seen_ms=first_seen_ms or 0,
        last_seen_ms=last_seen_ms,
        event_identifiers=tuple(sorted(set(event_identifiers.values()))),
        trait_values=traits,
        accounts=retain_accounts(accounts, accounts - trusted_accounts),
        dropped_names=_estimate_dropped(dropped, traits, counters, event_identifiers, public_nodes),
    )


def _estimate_dropped(
    kinds: Collection[str],
    traits: Mapping[str, TraitValue],
    counters: Collection[str],
    event_identifiers: Mapping[str, tuple[str, str]],
    public_nodes: Collection[str],
) -> dict[str, int]:
    estimates: dict[str, int] = {}
    if "traits" in kinds:
        estimates["traits"] = estimate_dropped_traits(traits)
    if "counters" in kinds:
        estimates["counters"] = estimate_dropped_counters(counters)
    if "identifiers" in kinds:
        estimates["identifiers"] = estimate_dropped_identifiers(event_identifiers, public_nodes)
    return estimates


def _join_entries(fragments: Sequence[Fragment], registers: Mapping[str, Register]) -> dict[str, list[Entry]]:
    keys = sorted({key for fragment in fragments for key in fragment.register_entries if key in registers})
    return {
        key: _join_states(registers[key], [part.register_entries[key] for part in fragments if key in part.register_entries])
        for key in keys
    }


def _join_states(register: Register, states: Sequence[list[Entry]]) -> list[Entry]:
    """Return the join of a register's states. The state of a single fragment is its own join, so nothing has to be computed."""
    # A state that was written under a larger capacity must still be cut, or the profile would differ from one that joins two.
    return states[0] if len(states) == 1 and register.is_within_capacity(states[0]) else register.join(states)


def _join_tallies(fragments: Sequence[Fragment], registers: Mapping[str, Register]) -> dict[str, dict[str, TallyCount]]:
    keys = sorted({key for fragment in fragments for key in fragment.tallies if key in registers})
    return {key: sum_tallies((part.tallies[key] for part in fragments if key in part.tallies), registers[key]) for key in keys}
