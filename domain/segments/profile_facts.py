"""What segments look at, and what an evaluation answers. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from domain.segments.comparisons import NEVER
from domain.segments.registers import Count, Entry, Register


@dataclass(frozen=True, slots=True)
class Group:
    """What segments see of an account or a household. `counters` are cut off where the segments ask."""

    traits: Mapping[str, Any]
    members: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """A profile's traits and registers, its accounts, its household if it has one.

    `kept` and `tallies` are by the registers' keys; `nodes` are the profile's identifiers as hashes, `named` the namespaces that
    its events name; `computed` are its computed traits.
    """

    traits: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    tallies: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    accounts: Sequence[Group] = ()
    household: Group | None = None
    profile_id: str = ""
    nodes: Collection[str] = ()
    named: Collection[str] = ()
    computed: Mapping[str, Any] = field(default_factory=dict)

    def entries(self, register: Register) -> Sequence[Entry]:
        """What is kept of a register."""
        return self.kept.get(register.key, ())


class Answer(msgspec.Struct, frozen=True):
    """What a leaf, or a computed trait, comes to now.

    `value` is what was found (a count, a sum, a trait …), `holds` whether the leaf is true, `next_ms` the next instant at which
    either can change by time alone (NEVER if they cannot). `behind` are the entries that it comes from, `approximate` says that the
    register was too small for all of them.
    """

    value: Any
    holds: bool = False
    next_ms: int = NEVER
    behind: Sequence[Entry] = ()
    approximate: bool = False
