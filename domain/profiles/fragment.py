"""The state of one owner (a fragment), how an event changes it, and how fragments join into a profile. Pure.

Every part is a join: traits by (time, id); counters, tallies and first/last seen guarded by the ids of the deduplication window;
kept registers as sets cut to their best. So any order, duplication and grouping gives the same profile.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from profile_store.port import DAY_MS
from schemas.events import BOT, Event
from schemas.hashes import message_hash
from schemas.identifiers import MAX_VALUE_CHARS, blocked, star
from domain.segments.plan import NAMED, Plan, trait_change
from domain.segments.registers import (Count, Entry, Register, add_up, count)

SEEN_LIMIT: Final = 512
MAX_ACCOUNTS: Final = 100
"""How many accounts of one owner are kept: the first of them by their text, whatever the order they came in."""


class Trait(msgspec.Struct, array_like=True, frozen=True):
    """A trait's value and the event that set it; the larger (time_ms, id) wins. A None value says that it was removed."""

    value: Any
    time_ms: int
    id: str


class Fragment(msgspec.Struct):
    """The state of one owner. `apply` changes it in place: it belongs to the slice that decoded it.

    `first_ms` and `last_ms` mean nothing while there are no counters: then no event has been applied.
    """

    version: int = 2
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}
    kept: dict[str, list[Entry]] = {}
    tallies: dict[str, dict[str, Count]] = {}
    first_ms: int = 0
    last_ms: int = 0
    seen: dict[str, int] = {}
    links: dict[str, tuple[int, int]] = {}
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did: whether it was new to the fragment, the links that the link agent must hear of, and what it changed of all
    that segments look at (see `Plan.concerned`)."""

    fresh: bool
    links: tuple[tuple[str, str], ...]
    changed: frozenset[str] = frozenset()


def apply(fragment: Fragment, event: Event, plan: Plan) -> Effect:
    """Fold one event of the owner into its fragment."""
    links = _observe_links(fragment, event)
    message = message_hash(event.owner, event.id)
    if message in fragment.seen:
        return Effect(fresh=False, links=links)
    fragment.seen[message] = event.time_ms
    if len(fragment.seen) > SEEN_LIMIT:
        del fragment.seen[min(zip(fragment.seen.values(), fragment.seen, strict=True))[1]]
    changed = _name(fragment, event)
    if event.type == "identify":
        set_traits(fragment.traits, event, message)
        changed |= {trait_change(name) for name in event.traits}
    elif (account := account_of(event)) is not None:
        fragment.accounts = _accounts((*fragment.accounts, account))
    if BOT in event.flags:
        return Effect(fresh=True, links=links, changed=frozenset(changed))
    fragment.first_ms = min(fragment.first_ms, event.time_ms) if fragment.counters else event.time_ms
    fragment.last_ms = max(fragment.last_ms, event.time_ms)
    label = event_label(event)
    fragment.counters[label] = fragment.counters.get(label, 0) + 1
    feed(fragment, event, message, plan)
    return Effect(fresh=True, links=links, changed=frozenset(changed | {label}))


def feed(fragment: Fragment, event: Event, message: str, plan: Plan) -> None:
    """Put what an event says into the registers. `message` is its `message_hash`."""
    for register, entry in plan.feed(event, message):
        if register.form == "tally":
            count(fragment.tallies.setdefault(register.key, {}), entry, register.keep)
        else:
            fragment.kept[register.key] = list(register.add(fragment.kept.get(register.key, ()), entry))


def _name(fragment: Fragment, event: Event) -> set[str]:
    """Note what the event's nodes stand for; says whether any of them is new."""
    before = len(fragment.identifiers)
    fragment.identifiers.update(zip(event.nodes, event.identifiers, strict=True))
    return {NAMED} if len(fragment.identifiers) > before else set()


def event_label(event: Event) -> str:
    """What counters and `did` call an event: a track event's name, `$page`, `$identify` … for the other calls."""
    return event.label


def account_of(event: Event) -> str | None:
    """The groupId of a group call: NFC and trimmed. None for other calls, and when it is one that names nothing."""
    group = event.properties.get("groupId") if event.type == "group" else None
    if not isinstance(group, str):
        return None
    text = unicodedata.normalize("NFC", group).strip()
    return None if not text or len(text) > MAX_VALUE_CHARS or blocked(text) else text


def _accounts(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names))[:MAX_ACCOUNTS])


def _observe_links(fragment: Fragment, event: Event) -> tuple[tuple[str, str], ...]:
    """Note the event's star in the fragment; returns the pairs that are new or whose evidence grew.

    Kept are the earliest time, and the earliest of the latest day: so a pair is said again once a day, whatever the order.
    """
    at = event.time_ms
    novel = []
    for a, b in star(event.nodes):
        key = f"{a}{b}"
        held = fragment.links.get(key)
        if held is None:
            fragment.links[key] = (at, at)
            novel.append((a, b))
            continue
        first, last = held
        later = at // DAY_MS > last // DAY_MS or (at // DAY_MS == last // DAY_MS and at < last)
        if at < first or later:
            fragment.links[key] = (min(first, at), at if later else last)
            novel.append((a, b))
    return tuple(novel)


def set_traits(traits: dict[str, Trait], event: Event, message: str) -> None:
    """Join the event's traits into `traits`; `message` is its `message_hash`."""
    for name, value in event.traits.items():
        trait = Trait(value, event.time_ms, message)
        if wins(trait, traits.get(name)):
            traits[name] = trait


def wins(trait: Trait, held: Trait | None) -> bool:
    """Whether a trait replaces the held one."""
    return held is None or (trait.time_ms, trait.id) > (held.time_ms, held.id)


@dataclass(frozen=True, slots=True)
class Joined:
    """A profile: the join of its members' fragments.

    `identifiers` are its own. `named` are all that its events named, also those that belong to another profile or to nobody.
    `registers` are the traits with the event that set each, removed ones too.
    """

    identifiers: tuple[tuple[str, str], ...]
    traits: dict[str, Any]
    counters: dict[str, int]
    kept: dict[str, list[Entry]]
    tallies: dict[str, dict[str, Count]]
    first_seen_ms: int
    last_seen_ms: int
    named: tuple[tuple[str, str], ...] = ()
    registers: Mapping[str, Trait] = field(default_factory=dict)
    accounts: tuple[str, ...] = ()


def join(fragments: Iterable[Fragment], wanted: Mapping[str, Register], members: Collection[str] | None = None) -> Joined:
    """The profile of these fragments, each given once; `wanted` are the registers that are joined (`Plan.registers`).

    Of the identifiers that its events named, only `members` are the profile's own: a shared phone may belong to nobody, a cookie
    to whoever used it last. None takes all.
    """
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}
    accounts: set[str] = set()
    first: int | None = None
    last = 0
    parts = list(fragments)
    for fragment in parts:
        identifiers.update(fragment.identifiers)
        accounts.update(fragment.accounts)
        for name, trait in fragment.traits.items():
            if wins(trait, traits.get(name)):
                traits[name] = trait
        for label, times in fragment.counters.items():
            counters[label] = counters.get(label, 0) + times
        if fragment.counters:
            first = fragment.first_ms if first is None else min(first, fragment.first_ms)
        last = max(last, fragment.last_ms)
    return Joined(
        identifiers=tuple(sorted(pair for node, pair in identifiers.items() if members is None or node in members)),
        traits={name: traits[name].value for name in sorted(traits) if traits[name].value is not None},
        counters=dict(sorted(counters.items())),
        kept=_kept(parts, wanted),
        tallies=_tallies(parts, wanted),
        first_seen_ms=first or 0,
        last_seen_ms=last,
        named=tuple(sorted(set(identifiers.values()))),
        registers=traits,
        accounts=_accounts(accounts),
    )


def _kept(parts: Sequence[Fragment], wanted: Mapping[str, Register]) -> dict[str, list[Entry]]:
    keys = sorted({key for part in parts for key in part.kept if key in wanted})
    return {key: _together(wanted[key], [part.kept[key] for part in parts if key in part.kept]) for key in keys}


def _together(register: Register, states: Sequence[list[Entry]]) -> list[Entry]:
    """The join; what one fragment alone keeps needs none."""
    return states[0] if len(states) == 1 and register.is_cut(states[0]) else register.join(states)


def _tallies(parts: Sequence[Fragment], wanted: Mapping[str, Register]) -> dict[str, dict[str, Count]]:
    keys = sorted({key for part in parts for key in part.tallies if key in wanted})
    return {key: add_up((part.tallies[key] for part in parts if key in part.tallies), wanted[key].keep) for key in keys}


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Fragment)


def encode(fragment: Fragment) -> bytes:
    """The fragment as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(fragment)


def decode(data: bytes | None) -> Fragment:
    """A fragment from its bytes; a new one when there are none yet."""
    return Fragment() if data is None else _DECODER.decode(data)
