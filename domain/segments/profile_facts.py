"""What segments read of a profile, and what the evaluation of a leaf returns. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from domain.segments.comparisons import lookup
from domain.segments.registers import Entry, Register, TallyCount
from schemas.instants import NEVER

COMPUTED_PREFIX: Final = "computed."
"""A trait path that begins so is a computed trait: `computed.NAME`."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What segments read of an account or a household.

    `counters` are by event, each counted up to `SegmentPlan.household_limits`.
    """

    traits: Mapping[str, Any]
    members: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """A profile as segments read it: the join of its fragments, its groups and its identity.

    `register_entries` and `tallies` are by the keys of the registers. `accounts` are those that the profile belongs to,
    `household` is None without one. `nodes` are the profile's identifiers as hashes, `namespaces` those that its events
    name, `computed` the values of its computed traits.
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
        if path.startswith(COMPUTED_PREFIX):
            return lookup(self.computed, path.removeprefix(COMPUTED_PREFIX))
        return lookup(self.traits, path)

    def entries(self, register: Register) -> Sequence[Entry]:
        """Return the entries stored for a register, best first; none for a tally."""
        return self.register_entries.get(register.key, ())


class LeafResult(msgspec.Struct, frozen=True):
    """The result of a leaf or of a computed trait at an instant.

    `value` is what was found (a count, a sum, a trait …) and `holds` whether the leaf is true. `next_change_ms` is the
    next instant at which either can change by time alone, NEVER if they cannot. `entries` are those that the result
    comes from. `is_approximate`: the register was too small for all events that the leaf asks about.
    """

    value: Any
    holds: bool = False
    next_change_ms: int = NEVER
    entries: Sequence[Entry] = ()
    is_approximate: bool = False
