"""What one event changed in its owner's fragment, and the fragment without that event. Pure.

**Why.** A transition names the event that made the membership change. But several events come between two evaluations of a
profile, and the fragments have applied all of them. So a touch carries, for each event, what the event replaced, and the segment
agent takes the events back until the membership is another one (`domain.profiles.turning`).

**Invariant.** Taking back the latest events of an owner, from the last applied to the first, gives the registers that segments
read, the traits and the namespaces as they were before each of them.

**Example.** The register of "last order" has room for one entry and contains the order of Monday. The order of Tuesday replaces
it: the change of that event has the entries (Tuesday, Monday). Taking Tuesday's order back removes the first and adds the second.
Had the event's change been lost, Tuesday's entry would still be removed, since its tie-breaker is the hash of the message; the
register would then be empty.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from domain.profiles.fragment import Effect, Fragment
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Entry, Register, uncount_entry
from schemas.codec import encode
from schemas.events import Event
from schemas.hashes import message_hash
from schemas.records import TouchEvent, TraitValue

MAX_TOUCH_EVENT_BYTES: Final = 64 * 1024
"""The largest change that a touch carries. It names fifty of them at most, so that its record fits into the topic."""
HASHED_FORMS: Final = ("newest", "oldest")
"""Registers whose entries end with the hash of their message."""


def touch_event(fragment: Fragment, event: Event, effect: Effect, plan: SegmentPlan) -> TouchEvent:
    """Return the change of an event that was just applied to the fragment, as far as segments can read it."""
    entries: dict[str, tuple[Entry, ...]] = {}
    counted: dict[str, tuple[str, int]] = {}
    for register, entry, before in effect.fed:
        if register.key not in plan.turning_registers:
            continue
        if register.form == "tally":
            counted[register.key] = (entry[1], entry[2] or 0)
        elif exchanged := _exchanged(entry, before, fragment.register_entries[register.key]):
            entries[register.key] = exchanged
    traits = {
        name: TraitValue(None, 0, "") if trait is None else trait
        for name, trait in effect.traits_before.items()
        if name in plan.retained.traits
    }
    touch = TouchEvent(
        id=event.id,
        received_ms=event.received_ms,
        changed=tuple(sorted(effect.changes)),
        entries=entries,
        counted=counted,
        traits=traits,
        nodes=effect.new_nodes,
    )
    # Without what it replaced, the event may still have turned any segment: that is found out more slowly, and less exactly.
    return touch if len(encode(touch)) <= MAX_TOUCH_EVENT_BYTES else TouchEvent(id=event.id, received_ms=event.received_ms)


def _exchanged(entry: Entry, before: Sequence[Entry], after: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entry and those that gave way to it; nothing when the register has not changed."""
    if after and after[0][:2] == entry[:2] and (not before or before[0][:2] != entry[:2]) and before[: len(after) - 1] == after[1:]:
        return entry, *before[len(after) - 1 :]  # it went to the front, as most events do
    orders_before, orders_after = {one[:2] for one in before}, {one[:2] for one in after}
    if entry[:2] in orders_before or entry[:2] not in orders_after:
        return ()
    return entry, *(one for one in before if one[:2] not in orders_after)


class FragmentHistory:
    """The fragment of one owner, from which its latest events are taken back one by one, beginning with the last applied.

    `known_entries` are entries of its events by register key, also of events that later ones have displaced. They come back when
    those are taken back; without them a full register would have a gap where nothing is known of what gave way.
    """

    def __init__(
        self,
        owner: str,
        fragment: Fragment,
        registers: Mapping[str, Register],
        known_entries: Iterable[tuple[str, Entry]] = (),
    ) -> None:
        self.fragment = fragment
        self._owner = owner
        self._registers = registers
        self._known: dict[str, list[Entry]] = {}
        for key, entry in known_entries:
            self._known.setdefault(key, []).append(entry)

    def take_back(self, event: TouchEvent) -> None:
        """Make the fragment the one from before this event. Of an event without changes only what names its message is removed."""
        message = message_hash(self._owner, event.id)
        fragment, entries = self.fragment, dict(self.fragment.register_entries)
        for key in self._known.keys() | entries.keys():
            register = self._registers.get(key)
            if register is None:
                continue
            is_added = _added_by(event, key, register, message)
            known = self._known[key] = [entry for entry in self._known.get(key, ()) if not is_added(entry)]
            stored = entries.get(key, [])
            remaining = [entry for entry in stored if not is_added(entry)]
            if len(remaining) < len(stored):
                entries[key] = register.join((remaining, known))
        tallies = dict(fragment.tallies)
        for key, (value, amount) in event.counted.items():
            if key in tallies and key in self._registers:
                tallies[key] = uncount_entry(tallies[key], value, amount, self._registers[key])
        self.fragment = msgspec.structs.replace(
            fragment,
            register_entries=entries,
            tallies=tallies,
            traits=_traits_before(fragment.traits, event, message),
            identifiers={node: pair for node, pair in fragment.identifiers.items() if node not in event.nodes},
        )


def _added_by(event: TouchEvent, key: str, register: Register, message: str) -> Callable[[Entry], bool]:
    if exchanged := event.entries.get(key, ()):
        order = exchanged[0][:2]
        return lambda entry: entry[:2] == order
    # Before the hash there may be a digit, see `Register.entry`.
    return (lambda entry: entry[1].endswith(message)) if register.form in HASHED_FORMS else (lambda _: False)


def _traits_before(traits: Mapping[str, TraitValue], event: TouchEvent, message: str) -> dict[str, TraitValue]:
    before = {name: trait for name, trait in traits.items() if trait.id != message}
    for name in traits.keys() - before.keys():
        trait = event.traits.get(name)
        if trait is not None and trait.id:
            before[name] = trait
    return before
