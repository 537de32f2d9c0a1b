"""The interface of a leaf: one class knows everything that the rest of the segment language asks about one keyword.

Why: a leaf is parsed, fed by events, evaluated in the stream, written as SQL, explained in words and priced before it
is applied. If those parts lay in seven modules, a new leaf would mean seven edits, and nothing would report a
forgotten one. So the tree, the plan, the explanation, the bounds, the JSON Schema and the SQL compiler know this
interface alone, and a leaf is one file and one line in `domain.segments.leaves.LEAVES`.

The invariant that every leaf keeps ("Streaming equals SQL"): for each set of events and each instant,
`evaluate(...).holds` equals the condition that `sql` writes, except while `is_approximate` says that a register was too
small. And ("Time passes by itself"): with the same facts, the answer does not change between `now_ms` and
`next_change_ms`.

An example, `{did: {event: Order Completed, at_least: 2, within: 7d}}`:
- `registers()` asks for the 2 newest `Order Completed` of the last 7 days, so the state of one identifier is bounded by 2 entries;
- with orders at 1,000 and 5,000 ms, `evaluate` at 6,000 ms counts 2, holds, and names 1,000 + 604,800,000 ms as its
  next change: the instant at which the older order leaves the half-open window (now - 7d, now];
- `sql` writes `countIf(label = 'Order Completed' AND at_ms > now - 604800000) >= 2` over the history in ClickHouse;
- `subject` and `expectation` say "Order Completed in the last 7d:" and "at least 2 times".
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from domain.fields import StrictModel
from domain.segments.profile_facts import COMPUTED_PREFIX, GroupFacts, LeafResult, ProfileFacts
from domain.segments.registers import Entry, Register
from domain.segments.sql.columns import ProfileColumns
from schemas.records import GroupKind

JsonSchema = Mapping[str, Any]


class Dependency(Enum):
    """What decides a leaf's answer besides the registers and traits that it names. The plan uses it to choose whom to evaluate."""

    NOTHING = "nothing"
    IDENTITY = "identity"
    """The profile's id or identifiers: two profiles without any event may get different answers."""
    GROUPS = "groups"
    """Accounts or households, which change without an event of the profile itself."""


@dataclass(frozen=True, slots=True)
class TraitReference:
    """A trait that a leaf reads; `path` is `computed.NAME` for a computed trait.

    `field` is the key of the document that names it, for messages. `computation` is the kind that the computed trait
    must have, empty when any will do.
    """

    path: str
    field: str
    computation: str = ""

    @property
    def computed_name(self) -> str:
        """The name of the computed trait, empty for a trait that calls set."""
        return self.path.split(".")[1] if self.path.startswith(COMPUTED_PREFIX) else ""


@dataclass(frozen=True, slots=True)
class LeafInputs:
    """What the plan supplies to a leaf, fixed until a definition changes.

    `registers` are those of `LeafCondition.registers`, in that order, each as large as the leaf of the plan that needs
    most of it: a leaf must not assume its own size. `listed_nodes` are the identifiers, as hashes, on the lists that
    the leaf refers to.
    """

    registers: tuple[Register, ...] = ()
    listed_nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """What an answer comes from: entries of a register, `count` events of a tally (`entries` is None), or a trait."""

    register: Register | None = None
    entries: tuple[Entry, ...] | None = ()
    count: int = 0
    trait: str = ""


class SqlContext(Protocol):
    """What the SQL compiler offers to a leaf. `columns` also has the statement's parameters and its instant."""

    columns: ProfileColumns

    def trait_value(self, path: str) -> str:
        """Return an expression of JSON text for a trait, or for a computed trait when the path begins with `computed.`."""

    def computed_value(self, name: str) -> str:
        """Return an expression of JSON text for a computed trait; '' where the profile has no value."""

    def listed_nodes(self, name: str) -> frozenset[str]:
        """Return the identifiers on a list; none for a list that is not defined."""


class LeafCondition(StrictModel):
    """A leaf of the tree: a document with one keyword. A subclass has one field, named like the keyword.

    The docstring of a subclass, if it has one, is the keyword's description in the JSON Schema.
    """

    example: ClassVar[Mapping[str, Any]] = {}
    """A document of this kind. Every leaf has one; the JSON Schema shows it, and the tests parse it."""
    depends_on: ClassVar[Dependency] = Dependency.NOTHING
    schema_rules: ClassVar[Mapping[str, JsonSchema]] = {}
    """JSON Schema beyond what the models say, by the name of the model: which keys go together."""

    def registers(self) -> tuple[Register, ...]:
        """Return the registers that the leaf reads, each as small as this leaf alone allows."""
        return ()

    def trait_references(self) -> tuple[TraitReference, ...]:
        """Return the traits that the leaf reads; the plan evaluates it again when one of them changes."""
        return ()

    def trait_paths(self) -> tuple[str, ...]:
        """Return the paths of the traits that the leaf reads and that calls set, of the profile or of a group: they are kept."""
        return tuple(reference.path for reference in self.trait_references() if not reference.computed_name)

    def list_references(self) -> tuple[str, ...]:
        """Return the names of the lists that the leaf reads."""
        return ()

    @abstractmethod
    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        """Answer for one profile at `now_ms`. Pure: equal facts give equal answers.

        A leaf with registers gets one blank evaluation, without facts at 0 ms, that stands for every profile without
        entries; so without entries its answer must depend neither on time nor on any other fact.
        """

    @abstractmethod
    def sql(self, context: SqlContext) -> str:
        """Write the same answer as a condition over the columns of a profile. Values only as bound parameters."""

    @abstractmethod
    def subject(self) -> str:
        """Return what is examined, for people: `Order Completed in the last 7d:`."""

    def expectation(self) -> str:
        """Return what the value is compared with: `at least 2 times`. Empty when the subject says everything."""
        return ""

    def exactness_limit(self, _register: Register) -> str:
        """Return up to where the answer is exact with a register of this size; empty when it always is."""
        return ""

    def register_paths(self) -> tuple[str, ...]:
        """Return the part of the document that each register serves, to be added to the leaf's path."""
        return ("",) * len(self.registers())

    def displayed_value(self, result: LeafResult, _inputs: LeafInputs, _facts: ProfileFacts, _now_ms: int) -> Any:
        """Return the value that an explanation shows: JSON, with more detail than the value that was compared."""
        return result.value

    def is_lower_bound(self, _result: LeafResult, _inputs: LeafInputs) -> bool:
        """Return whether the value counts a full register, so that the true count may be larger."""
        return False

    def evidence(self, result: LeafResult, inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> Iterator[NodeEvidence]:
        """Yield what the answer comes from: the entries of the first register, or the count of its tally."""
        # Further registers have a meaning of their own (a sequence's follow-ups): a leaf with several of them adds to this.
        for register in inputs.registers[:1]:
            if register.form == "tally":
                if tally_count := facts.tallies.get(register.key, {}).get(""):
                    yield NodeEvidence(register, None, tally_count[0])
            elif result.entries:
                yield NodeEvidence(register, tuple(result.entries), len(result.entries))


class GroupCondition(LeafCondition):
    """A leaf about an account or a household. The group agent asks it directly, to know whether a change of the group matters."""

    depends_on: ClassVar[Dependency] = Dependency.GROUPS
    group_kind: ClassVar[GroupKind]

    @abstractmethod
    def matches_group(self, group: GroupFacts) -> bool:
        """Return whether everything that the leaf asks holds for this one group."""

    def event_limits(self) -> Mapping[str, int]:
        """Return, by event, up to which count it matters how often the event happened to the group; members count no further."""
        return {}


LeafEvaluator = Callable[[ProfileFacts, int], LeafResult]
"""A leaf bound to its inputs: (facts, now_ms) -> LeafResult."""


def bind_leaf(leaf: LeafCondition, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> LeafEvaluator:
    """Return the evaluation of a leaf in a plan. `registers` are those of the whole plan by key, `lists` the lists by name."""
    inputs = inputs_of(leaf, registers, lists)
    # Bound once here, so that an evaluation costs no lookup of the method.
    evaluate = leaf.evaluate
    if not inputs.registers:
        return lambda facts, now_ms: evaluate(inputs, facts, now_ms)
    keys: Sequence[str] = [register.key for register in inputs.registers]
    # Valid for ever: without entries a leaf depends on nothing that could change, see `LeafCondition.evaluate`.
    blank_result = evaluate(inputs, ProfileFacts(), 0)

    def evaluate_with_entries(facts: ProfileFacts, now_ms: int) -> LeafResult:
        # Most profiles have no entry for most leaves: two dictionary look-ups answer for them, and this is where an
        # event's cost lies.
        for key in keys:
            if key in facts.register_entries or key in facts.tallies:
                return evaluate(inputs, facts, now_ms)
        return blank_result

    return evaluate_with_entries


def inputs_of(leaf: LeafCondition, registers: Mapping[str, Register], lists: Mapping[str, frozenset[str]]) -> LeafInputs:
    """Return what a plan supplies to a leaf; a list that is not defined is empty."""
    return LeafInputs(
        # By key, since the plan may have enlarged the register for another reader; the key does not depend on the size.
        registers=tuple(registers[register.key] for register in leaf.registers()),
        listed_nodes=frozenset().union(*(lists.get(name, frozenset()) for name in leaf.list_references())),
    )
