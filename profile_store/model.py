"""The state of one owner (a fragment), how an event changes it, and how fragments join into a profile. Pure.

Every part is a join: traits by (time, id), counters and first/last seen guarded by the ids of the deduplication window, leaf
states as sets of (time, id) cut to their newest. So any order, duplication and grouping gives the same profile.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from profile_store.port import DAY_MS
from schemas.events import BOT, Event
from schemas.hashes import short_hash
from schemas.identifiers import MAX_VALUE_CHARS, blocked, star
from segments.plan import LeafState, Plan, keep_newest

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

    version: int = 1
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}
    leaves: dict[str, LeafState] = {}
    first_ms: int = 0
    last_ms: int = 0
    seen: dict[str, int] = {}
    links: dict[str, tuple[int, int]] = {}
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did: whether it was new to the fragment, and the links that the link agent must hear of."""

    fresh: bool
    links: tuple[tuple[str, str], ...]


def apply(fragment: Fragment, event: Event, plan: Plan) -> Effect:
    """Fold one event of the owner into its fragment."""
    links = _observe_links(fragment, event)
    message = short_hash(event.id)
    if message in fragment.seen:
        return Effect(fresh=False, links=links)
    fragment.seen[message] = event.time_ms
    if len(fragment.seen) > SEEN_LIMIT:
        del fragment.seen[min(zip(fragment.seen.values(), fragment.seen, strict=True))[1]]
    fragment.identifiers.update(zip(event.nodes, event.identifiers, strict=True))
    if event.type == "identify":
        set_traits(fragment.traits, event, message)
    elif (account := account_of(event)) is not None:
        fragment.accounts = _accounts((*fragment.accounts, account))
    if BOT in event.flags:
        return Effect(fresh=True, links=links)
    fragment.first_ms = min(fragment.first_ms, event.time_ms) if fragment.counters else event.time_ms
    fragment.last_ms = max(fragment.last_ms, event.time_ms)
    label = event_label(event)
    fragment.counters[label] = fragment.counters.get(label, 0) + 1
    for key, limit in plan.leaves_of(label, event.properties):
        fragment.leaves[key] = keep_newest([*fragment.leaves.get(key, ()), (event.time_ms, message)], limit)
    return Effect(fresh=True, links=links)


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
    """Join the event's traits into `traits`; `message` is the short hash of its id."""
    for name, value in event.traits.items():
        trait = Trait(value, event.time_ms, message)
        if wins(trait, traits.get(name)):
            traits[name] = trait


def wins(trait: Trait, held: Trait | None) -> bool:
    """Whether a trait replaces the held one. Two owners may use one message id: then the values' bytes decide, in any order."""
    if held is None:
        return True
    new, old = (trait.time_ms, trait.id), (held.time_ms, held.id)
    return new > old or (new == old and _ENCODER.encode(trait.value) > _ENCODER.encode(held.value))


@dataclass(frozen=True, slots=True)
class Joined:
    """A profile: the join of its members' fragments.

    `identifiers` are its own. `named` are all that its events named, also those that belong to another profile or to nobody.
    `registers` are the traits with the event that set each, removed ones too.
    """

    identifiers: tuple[tuple[str, str], ...]
    traits: dict[str, Any]
    counters: dict[str, int]
    leaves: dict[str, LeafState]
    first_seen_ms: int
    last_seen_ms: int
    named: tuple[tuple[str, str], ...] = ()
    registers: Mapping[str, Trait] = field(default_factory=dict)
    accounts: tuple[str, ...] = ()


def join(fragments: Iterable[Fragment], limits: Mapping[str, int], members: Collection[str] | None = None) -> Joined:
    """The profile of these fragments, each given once; `limits` says how many times each leaf state keeps (`Plan.limits`).

    Of the identifiers that its events named, only `members` are the profile's own: a shared phone may belong to nobody, a cookie
    to whoever used it last. None takes all.
    """
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, Trait] = {}
    counters: dict[str, int] = {}
    leaves: dict[str, LeafState] = {}
    accounts: set[str] = set()
    first: int | None = None
    last = 0
    for fragment in fragments:
        identifiers.update(fragment.identifiers)
        accounts.update(fragment.accounts)
        for name, trait in fragment.traits.items():
            if wins(trait, traits.get(name)):
                traits[name] = trait
        for label, count in fragment.counters.items():
            counters[label] = counters.get(label, 0) + count
        for key, times in fragment.leaves.items():
            if key in limits:
                leaves[key] = keep_newest([*leaves.get(key, ()), *times], limits[key])
        if fragment.counters:
            first = fragment.first_ms if first is None else min(first, fragment.first_ms)
        last = max(last, fragment.last_ms)
    return Joined(
        identifiers=tuple(sorted(pair for node, pair in identifiers.items() if members is None or node in members)),
        traits={name: traits[name].value for name in sorted(traits) if traits[name].value is not None},
        counters=dict(sorted(counters.items())),
        leaves=dict(sorted(leaves.items())),
        first_seen_ms=first or 0,
        last_seen_ms=last,
        named=tuple(sorted(set(identifiers.values()))),
        registers=traits,
        accounts=_accounts(accounts),
    )


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Fragment)


def encode(fragment: Fragment) -> bytes:
    """The fragment as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(fragment)


def decode(data: bytes | None) -> Fragment:
    """A fragment from its bytes; a new one when there are none yet."""
    return Fragment() if data is None else _DECODER.decode(data)
