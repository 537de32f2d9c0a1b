"""The state of one owner (a fragment), how an event changes it, and how fragments join into a profile. Pure.

Every part is a join: traits by (time, id); counters, tallies and first/last seen guarded by the ids of the deduplication window;
kept registers as sets cut to their best. So any order, duplication and grouping gives the same profile.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from domain.segments.plan import NAMESPACES_CHANGED, SegmentPlan, trait_change_key
from domain.segments.registers import Entry, TallyCount, count_entry
from schemas.events import BOT_FLAG, Event
from schemas.hashes import message_hash
from schemas.identifiers import MAX_VALUE_CHARS, is_blocked, links_from_strongest
from schemas.instants import DAY_MS

DEDUPLICATION_LIMIT: Final = 512
MAX_ACCOUNTS: Final = 100
"""How many accounts of one owner are kept: the first of them by their text, whatever the order they came in."""


class TraitValue(msgspec.Struct, array_like=True, frozen=True):
    """A trait's value and the event that set it; the larger (time_ms, id) wins. A None value says that it was removed."""

    value: Any
    time_ms: int
    id: str


class Fragment(msgspec.Struct):
    """The state of one owner. `apply_event` changes it in place: it belongs to the slice that decoded it.

    `first_ms` and `last_ms` mean nothing while there are no counters: then no event has been applied.
    """

    version: int = 3
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}
    register_entries: dict[str, list[Entry]] = {}
    tallies: dict[str, dict[str, TallyCount]] = {}
    first_ms: int = 0
    last_ms: int = 0
    message_times: dict[str, int] = {}
    links: dict[str, tuple[int, int]] = {}
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did: whether it was new to the fragment, the links that the link agent must hear of, and what it changed of all
    that segments look at (see `SegmentPlan.concerned`)."""

    is_new: bool
    changed_links: tuple[tuple[str, str], ...]
    changes: frozenset[str] = frozenset()


def apply_event(fragment: Fragment, event: Event, plan: SegmentPlan) -> Effect:
    """Fold one event of the owner into its fragment."""
    links = _observe_links(fragment, event)
    message = message_hash(event.owner, event.id)
    if message in fragment.message_times:
        return Effect(is_new=False, changed_links=links)
    fragment.message_times[message] = event.time_ms
    if len(fragment.message_times) > DEDUPLICATION_LIMIT:
        del fragment.message_times[min(zip(fragment.message_times.values(), fragment.message_times, strict=True))[1]]
    changes = _add_identifiers(fragment, event)
    if event.type == "identify":
        set_traits(fragment.traits, event, message)
        changes |= {trait_change_key(name) for name in event.traits}
    elif (account := account_of_group_call(event)) is not None:
        fragment.accounts = retain_accounts((*fragment.accounts, account))
    if BOT_FLAG in event.flags:
        return Effect(is_new=True, changed_links=links, changes=frozenset(changes))
    fragment.first_ms = min(fragment.first_ms, event.time_ms) if fragment.counters else event.time_ms
    fragment.last_ms = max(fragment.last_ms, event.time_ms)
    fragment.counters[event.label] = fragment.counters.get(event.label, 0) + 1
    feed_registers(fragment, event, message, plan)
    return Effect(is_new=True, changed_links=links, changes=frozenset(changes | {event.label}))


def feed_registers(fragment: Fragment, event: Event, message: str, plan: SegmentPlan) -> None:
    """Put what an event says into the registers. `message` is its `message_hash`."""
    for register, entry in plan.entries_from(event, message):
        if register.form == "tally":
            count_entry(fragment.tallies.setdefault(register.key, {}), entry, register.capacity)
        else:
            fragment.register_entries[register.key] = list(register.add(fragment.register_entries.get(register.key, ()), entry))


def _add_identifiers(fragment: Fragment, event: Event) -> set[str]:
    """Note what the event's nodes stand for; says whether any of them is new."""
    count_before = len(fragment.identifiers)
    fragment.identifiers.update(zip(event.nodes, event.identifiers, strict=True))
    return {NAMESPACES_CHANGED} if len(fragment.identifiers) > count_before else set()


def account_of_group_call(event: Event) -> str | None:
    """The groupId of a group call: NFC and trimmed. None for other calls, and when it is one that names nothing."""
    group = event.properties.get("groupId") if event.type == "group" else None
    if not isinstance(group, str):
        return None
    text = unicodedata.normalize("NFC", group).strip()
    return None if not text or len(text) > MAX_VALUE_CHARS or is_blocked(text) else text


def retain_accounts(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names))[:MAX_ACCOUNTS])


def _observe_links(fragment: Fragment, event: Event) -> tuple[tuple[str, str], ...]:
    """Note the event's star in the fragment; returns the pairs that are new or whose evidence grew.

    Kept are the earliest time, and the earliest of the latest day: so a pair is said again once a day, whatever the order.
    """
    at_ms = event.time_ms
    changed_pairs = []
    for a, b in links_from_strongest(event.nodes):
        key = f"{a}{b}"
        stored = fragment.links.get(key)
        if stored is None:
            fragment.links[key] = (at_ms, at_ms)
            changed_pairs.append((a, b))
            continue
        first_ms, last_ms = stored
        is_later = at_ms // DAY_MS > last_ms // DAY_MS or (at_ms // DAY_MS == last_ms // DAY_MS and at_ms < last_ms)
        if at_ms < first_ms or is_later:
            fragment.links[key] = (min(first_ms, at_ms), at_ms if is_later else last_ms)
            changed_pairs.append((a, b))
    return tuple(changed_pairs)


def set_traits(traits: dict[str, TraitValue], event: Event, message: str) -> None:
    """Join the event's traits into `traits`; `message` is its `message_hash`."""
    for name, value in event.traits.items():
        trait = TraitValue(value, event.time_ms, message)
        if supersedes(trait, traits.get(name)):
            traits[name] = trait


def supersedes(trait: TraitValue, current: TraitValue | None) -> bool:
    """Whether a trait replaces the held one."""
    return current is None or (trait.time_ms, trait.id) > (current.time_ms, current.id)


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Fragment)


def encode_fragment(fragment: Fragment) -> bytes:
    """The fragment as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(fragment)


def decode_fragment(data: bytes | None) -> Fragment:
    """A fragment from its bytes; a new one when there are none yet."""
    return Fragment() if data is None else _DECODER.decode(data)
