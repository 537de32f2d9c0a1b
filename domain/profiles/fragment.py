"""The state of one owner (a fragment), and how an event changes it. Pure; the unify agent applies events to fragments.

Why fragments: the owner of an event depends on the event alone, so an event is always applied to the same fragment, whatever the
identity rules say today. A profile is the join of its members' fragments (`domain.profiles.join`). A merge or a split changes
which fragments are joined and moves no state.

Invariant: any order, any duplication within the deduplication window and any slicing of the same events give the same bytes. Each
field is a join of what the events contribute: traits by the larger (trust, time, message hash); counters, tallies and first/last
time behind the check for duplicates; register entries as sets that are cut to the best ones; links by earliest and latest time. How
many names there may be, and which ones stay, is the business of `domain.profiles.bounds`.

Example: event A sets city = Hue at 10:00, event B of as trusted a source sets city = Hanoi at 09:00. If B arrives after A,
`supersedes` compares 09:00 with 10:00 and Hue stays. If A arrives twice, its message hash is found in `message_times`, and no
counter moves.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from domain.identity.identifier_values import normalise_as
from domain.profiles.bounds import retain_counters, retain_identifiers, retain_links, retain_traits
from domain.segments.plan import NAMESPACES_CHANGED, SegmentPlan, trait_change_key
from domain.segments.registers import Entry, Register, TallyCount, count_entry
from schemas.events import BOT_FLAG, Event
from schemas.hashes import message_hash
from schemas.identifiers import links_from_strongest
from schemas.instants import DAY_MS
from schemas.records import TraitValue

DEDUPLICATION_LIMIT: Final = 512
"""How many message ids a fragment remembers, the newest by event time. A duplicate that is older than all of them counts again."""

MAX_ACCOUNTS: Final = 100
"""How many accounts a fragment remembers: first those of trusted sources, each in alphabetical order, so that the order of arrival
does not matter."""

MAX_RECENT_EVENTS: Final = 10
"""How many of the newest events a fragment can name: about 80 bytes each. More rarely come between two evaluations."""


class LinkTimes(msgspec.Struct, array_like=True, frozen=True):
    """When two nodes were seen together for the first and the last time, as `Edge` has it: by trusted events if there are any."""

    first_ms: int
    last_ms: int
    trusted: bool = True


RecentEvent = tuple[int, int, str, str]
"""(time_ms, received_ms, message id, event label) of an event. The label is empty when other things can have changed than the
registers of one label: by an identify call, or by a robot's event, which no register counts."""


class Fragment(msgspec.Struct):
    """The state of one owner. `apply_event` changes it in place, so a fragment belongs to the slice that decoded it.

    Attributes:
        version: the version of this layout.
        identifiers: namespace and value of every node that the owner's events named.
        traits: the latest value of each trait.
        counters: the number of events by label (see `Event.label`).
        register_entries: the entries of each register by register key: what segments need to know about single events.
        tallies: the counts of each tally register by register key.
        first_ms: the time of the earliest event; without meaning while `counters` is empty.
        last_ms: the time of the latest event; without meaning while `counters` is empty.
        message_times: the event time by message hash: the deduplication window.
        links: the first and the last time of each pair of nodes, by the two nodes written one after the other.
        accounts: the accounts that the owner's group calls named.
        public_accounts: those of `accounts` that no trusted source has named, sorted.
        recent: the newest events, so that a transition can name its event before the touch of that event has come.
        public_nodes: those of `identifiers` that no trusted source has named, sorted.
        dropped: which of `traits`, `counters` and `identifiers` have had more names than places, sorted. Names have been dropped
            then, unless definitions read all that were too many. (Whether one was dropped on the way may depend on the order.)
    """

    version: int = 5
    identifiers: dict[str, tuple[str, str]] = {}
    traits: dict[str, TraitValue] = {}
    counters: dict[str, int] = {}
    register_entries: dict[str, list[Entry]] = {}
    tallies: dict[str, dict[str, TallyCount]] = {}
    first_ms: int = 0
    last_ms: int = 0
    message_times: dict[str, int] = {}
    links: dict[str, LinkTimes] = {}
    accounts: tuple[str, ...] = ()
    public_accounts: tuple[str, ...] = ()
    recent: list[RecentEvent] = []
    public_nodes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class Fed(NamedTuple):
    """An entry that an event added to a register, and what the register had before; of a tally that is nothing."""

    register: Register
    entry: Entry
    before: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did to a fragment.

    Attributes:
        is_new: false for a duplicate, which changed at most the links.
        changed_links: the pairs of nodes whose evidence the link agent must receive.
        changes: what changed for segments, in the words of `SegmentPlan.affected_by`.
        fed: the registers that the event was added to.
        traits_before: the traits that the event set or could have set, as they were before it.
        new_nodes: the nodes that the fragment did not know before.
        dropped: how many names the fragment dropped with this event, by what they name (see `Fragment.dropped`).
    """

    is_new: bool
    changed_links: tuple[tuple[str, str], ...]
    changes: frozenset[str] = frozenset()
    fed: Sequence[Fed] = ()
    traits_before: Mapping[str, TraitValue | None] = field(default_factory=dict)
    new_nodes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def apply_event(fragment: Fragment, event: Event, plan: SegmentPlan, pairs: Iterable[tuple[str, str]] | None = None) -> Effect:
    """Apply one event of the owner to its fragment, in place; a duplicate is recognised by its message id.

    `pairs` are those that the event is evidence for (`domain.identity.evidence.event_pairs`). Without them only what the event
    names itself is linked: enough for a caller that asks what the event counts, and not whom it links.
    """
    # Links come before the check for duplicates. Redis may have been written and the process died before the links were sent:
    # then the replayed event is a duplicate to the fragment, and the caller sends its links once more.
    links = _observe_links(fragment, links_from_strongest(event.nodes) if pairs is None else pairs, event)
    message = message_hash(event.owner, event.id)
    if message in fragment.message_times:
        return Effect(is_new=False, changed_links=links)
    fragment.message_times[message] = event.time_ms
    if len(fragment.message_times) > DEDUPLICATION_LIMIT:
        # The oldest event time goes, not the oldest arrival, so that any order of the same events leaves the same window.
        del fragment.message_times[min(zip(fragment.message_times.values(), fragment.message_times, strict=True))[1]]
    new_nodes = tuple(node for node in event.nodes if node not in fragment.identifiers)
    dropped = {"identifiers": _add_identifiers(fragment, event, new_nodes)}
    changes = {NAMESPACES_CHANGED} if new_nodes else set()
    traits_before: dict[str, TraitValue | None] = {}
    if event.type == "identify":
        traits_before = {name: fragment.traits.get(name) for name in event.traits}
        dropped["traits"] = _set_bounded_traits(fragment, event, message, plan)
        # Also traits that an older event could not change: one evaluation too many is harmless, a missing one is not.
        changes |= {trait_change_key(name) for name in event.traits if name in fragment.traits}
    elif (account := account_of_group_call(event)) is not None:
        _add_account(fragment, account, trusted=event.trusted)
    _remember(fragment, event)
    fed: Sequence[Fed] = ()
    # Traffic of bots is stored and deduplicated, but no segment may count it.
    if BOT_FLAG not in event.flags:
        changes.add(event.label)
        dropped["counters"] = _count(fragment, event, plan)
        fed = feed_registers(fragment, event, message, plan)
    full = {kind: number for kind, number in dropped.items() if number is not None}
    if full:
        fragment.dropped = tuple(sorted({*fragment.dropped, *full}))
    return Effect(True, links, frozenset(changes), fed, traits_before, new_nodes, full)


def _set_bounded_traits(fragment: Fragment, event: Event, message: str, plan: SegmentPlan) -> int | None:
    """Join the event's traits into the fragment, within its bounds; return how many were dropped, None while there is room."""
    before = [fragment.traits.get(name) for name in event.traits]
    set_traits(fragment.traits, event, message)
    # The places are counted only when a name was added, or has become trusted and so takes another place: whoever has many traits
    # must not pay for that with each event.
    has_other_places = any(trait is None or event.trusted > trait.trusted for trait in before)
    return retain_traits(fragment.traits, plan.retained) if has_other_places else None


def _count(fragment: Fragment, event: Event, plan: SegmentPlan) -> int | None:
    """Count the event, within the fragment's bounds; return how many labels were dropped, None while there is room."""
    # Without a counted event `first_ms` is still the default 0, which would win every minimum.
    fragment.first_ms = min(fragment.first_ms, event.time_ms) if fragment.counters else event.time_ms
    fragment.last_ms = max(fragment.last_ms, event.time_ms)
    count = fragment.counters.get(event.label, 0)
    fragment.counters[event.label] = count + 1
    return None if count else retain_counters(fragment.counters, plan.retained)


def feed_registers(fragment: Fragment, event: Event, message: str, plan: SegmentPlan) -> list[Fed]:
    """Add an event to the registers of the plan, and return which; also called when a new segment is backfilled.

    `message` is the event's `message_hash`.
    """
    fed = []
    for register, entry in plan.entries_from(event, message):
        if register.form == "tally":
            fed.append(Fed(register, entry, ()))
            count_entry(fragment.tallies.setdefault(register.key, {}), entry, register)
        else:
            before = fragment.register_entries.get(register.key, ())
            fed.append(Fed(register, entry, before))
            fragment.register_entries[register.key] = list(register.add(before, entry))
    return fed


def _remember(fragment: Fragment, event: Event) -> None:
    """Add the event to the recent ones. They are the newest by event time, so that they do not depend on the order of arrival."""
    if len(fragment.recent) == MAX_RECENT_EVENTS and event.time_ms < fragment.recent[-1][0]:
        return
    if all(event_id != event.id for _, _, event_id, _ in fragment.recent):
        label = "" if event.type == "identify" or BOT_FLAG in event.flags else event.label
        remembered = (event.time_ms, event.received_ms, event.id, label)
        fragment.recent = sorted([*fragment.recent, remembered], reverse=True)[:MAX_RECENT_EVENTS]


def _add_identifiers(fragment: Fragment, event: Event, new_nodes: Sequence[str]) -> int | None:
    """Add the event's identifiers to the fragment, within its bounds; return how many were dropped, None while there is room."""
    public_nodes = {*fragment.public_nodes}.difference(event.nodes) if event.trusted else {*fragment.public_nodes, *new_nodes}
    if not new_nodes and len(public_nodes) == len(fragment.public_nodes):
        return None
    fragment.identifiers.update(zip(event.nodes, event.identifiers, strict=True))
    dropped = retain_identifiers(fragment.identifiers, public_nodes, event.owner)
    fragment.public_nodes = tuple(sorted(public_nodes & fragment.identifiers.keys()))
    return dropped


def account_of_group_call(event: Event) -> str | None:
    """Return the `groupId` of a group call in its one spelling, or None for other calls and for an id that names no account."""
    group = event.properties.get("groupId") if event.type == "group" else None
    return normalise_as("text", group, "") if isinstance(group, str) else None


def _add_account(fragment: Fragment, account: str, *, trusted: bool) -> None:
    public = set(fragment.public_accounts)
    if trusted:
        public.discard(account)
    elif account not in fragment.accounts:
        public.add(account)
    fragment.accounts = retain_accounts((*fragment.accounts, account), public)
    fragment.public_accounts = tuple(sorted(public.intersection(fragment.accounts)))


def retain_accounts(names: Iterable[str], public: Collection[str]) -> tuple[str, ...]:
    """Return the accounts within MAX_ACCOUNTS, sorted; those in `public`, which no trusted source has named, are dropped first.

    Retaining a join equals joining what was retained, so grouping does not matter.
    """
    return tuple(sorted(sorted(set(names), key=lambda name: (name in public, name))[:MAX_ACCOUNTS]))


def _observe_links(fragment: Fragment, pairs: Iterable[tuple[str, str]], event: Event) -> tuple[tuple[str, str], ...]:
    """Add an event's pairs to the fragment's links; return the pairs that are new or whose evidence changed.

    The two times of a pair are those of `Edge`: the earliest event, and the earliest event of the latest day. So a customer with a
    thousand events a day publishes each pair about once a day, and the stored times do not depend on the order of arrival.
    """
    at_ms, changed_pairs = event.time_ms, []
    for a, b in pairs:
        key = f"{a}{b}"
        stored = fragment.links.get(key)
        if stored is None or event.trusted > stored.trusted:
            fragment.links[key] = LinkTimes(at_ms, at_ms, event.trusted)
            changed_pairs.append((a, b))
            continue
        if event.trusted < stored.trusted:
            continue  # public evidence adds nothing to trusted evidence
        first_ms, last_ms = stored.first_ms, stored.last_ms
        is_later = at_ms // DAY_MS > last_ms // DAY_MS or (at_ms // DAY_MS == last_ms // DAY_MS and at_ms < last_ms)
        if at_ms < first_ms or is_later:
            fragment.links[key] = LinkTimes(min(first_ms, at_ms), at_ms if is_later else last_ms, event.trusted)
            changed_pairs.append((a, b))
    # A pair that is dropped is published with each of its events: the link agent joins them.
    retain_links(fragment.links)
    return tuple(changed_pairs)


def set_traits(traits: dict[str, TraitValue], event: Event, message: str) -> None:
    """Join the event's traits into `traits`, in place; `message` is the event's `message_hash`."""
    for name, value in event.traits.items():
        trait = TraitValue(value, event.time_ms, message, event.trusted)
        if supersedes(trait, traits.get(name)):
            traits[name] = trait


def supersedes(trait: TraitValue, current: TraitValue | None) -> bool:
    """Return whether a trait replaces the current one: it is of more trust, or later, or of the same time with a larger hash."""
    return current is None or (trait.trusted, trait.time_ms, trait.id) > (current.trusted, current.time_ms, current.id)


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Fragment)


class _DroppedKinds(msgspec.Struct):
    dropped: tuple[str, ...] = ()


_DROPPED_DECODER: Final = msgspec.msgpack.Decoder(_DroppedKinds)


def encode_fragment(fragment: Fragment) -> bytes:
    """Return the fragment as MessagePack; equal states have equal bytes."""
    return _ENCODER.encode(fragment)


def decode_fragment(data: bytes | None) -> Fragment:
    """Return the fragment in these bytes, or an empty fragment for None."""
    return Fragment() if data is None else _DECODER.decode(data)


def dropped_kinds(data: bytes) -> tuple[str, ...]:
    """Return `Fragment.dropped` of the fragment in these bytes, without decoding the rest."""
    return _DROPPED_DECODER.decode(data).dropped
