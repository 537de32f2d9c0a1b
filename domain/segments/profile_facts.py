"""What segments look at, and what an evaluation answers. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from domain.segments.comparisons import lookup
from domain.segments.registers import Entry, Register, TallyCount
from schemas.instants import NEVER


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What segments see of an account or a household. `counters` are cut off where the segments ask."""

    traits: Mapping[str, Any]
    members: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """A profile's traits and registers, its accounts, its household if it has one.

    `register_entries` and `tallies` are by the registers' keys; `nodes` are the profile's identifiers as hashes, `namespaces`
    the namespaces that
    its events name; `computed` are its computed traits.
    """

    traits: Mapping[str, Any] = field(default_factory=dict)
    register_entries: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    tallies: Mapping[str, Mapping[str, TallyCount]] = field(default_factory=dict)
    accounts: Sequence[GroupFacts] = ()
    household: GroupFacts | None = None
    profile_id: str = ""
    nodes: Collection[str] = ()
    namespaces: Collection[str] = ()
    computed: Mapping[str, Any] = field(default_factory=dict)

    def trait_value(self, path: str) -> Any:
        """Return the trait at a dotted path, or the computed trait when the path is `computed.NAME`; None when there is none."""
        if path.startswith("computed."):
            return lookup(self.computed, path[len("computed.") :])
        return lookup(self.traits, path)

    def entries(self, register: Register) -> Sequence[Entry]:
        """What is kept of a register."""
        return self.register_entries.get(register.key, ())


class LeafResult(msgspec.Struct, frozen=True):
    """What a leaf, or a computed trait, comes to now.

    `value` is what was found (a count, a sum, a trait …), `holds` whether the leaf is true, `next_change_ms` the next instant
    at which
    either can change by time alone (NEVER if they cannot). `entries` are the entries that it comes from, `is_approximate` says
    that the
    register was too small for all of them.
    """

    value: Any
    holds: bool = False
    next_change_ms: int = NEVER
    entries: Sequence[Entry] = ()
    is_approximate: bool = False
