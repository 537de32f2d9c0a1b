"""Why a profile is in a segment, or not: the tree with what each leaf comes to, from which entries, and when it turns. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from domain.segments.comparisons import NEVER, lookup
from domain.segments.evaluate import group_holds, trait_value, zone_of
from domain.segments.profile_facts import Answer, Facts, Group
from domain.segments.language import (AllOf, AnyOf, Calendar, InList, InSegment, Node, Not, children_of, keyword_of, walk)
from domain.segments.leaf_models import (AccountLeaf, AggregateLeaf, DidLeaf, DidNotLeaf, HouseholdLeaf, OccurrenceLeaf, SequenceLeaf)
from domain.segments.plan import Plan, paths_of
from domain.segments.registers import Entry, Register
from domain.segments.tree import (AnswerOf, answers, leaf_of, registers_of)
from domain.segments.describe import computed_words, wanted, words

MAX_WORK: Final = 100_000
"""How far changes are followed to find the one that turns a node: each costs NODE_WORK per node and one per entry."""
NODE_WORK: Final = 20
COMPUTED: Final = "computed"


@dataclass(frozen=True, slots=True)
class Behind:
    """What a value comes from: entries of a register, `count` events of one that keeps none (`entries` is None), or a trait."""

    register: Register | None = None
    entries: tuple[Entry, ...] | None = ()
    count: int = 0
    trait: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """A node, or a computed trait (its keyword is COMPUTED, `holds` is None) below the leaf that looks at it.

    `or_more`: the register keeps no more than that. `next_ms` is when the value or the answer can change by time alone, `turns_ms`
    when `holds` does turn if nothing else happens; NEVER if not. `approximate`: the register was too small for the question.
    """

    keyword: str
    text: str
    holds: bool | None
    value: Any = None
    wanted: str = ""
    or_more: bool = False
    next_ms: int = NEVER
    turns_ms: int = NEVER
    approximate: bool = False
    behind: tuple[Behind, ...] = ()
    inside: tuple["Explained", ...] = ()

    def walk(self) -> Iterator["Explained"]:
        """This one and all below, parents first."""
        yield self
        for child in self.inside:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer about one segment. Changes were followed up to `until_ms`: NEVER says that none was left."""

    segment: str
    version: str
    tree: Explained
    until_ms: int

    @property
    def approximate(self) -> bool:
        """Whether any part of it is."""
        return any(one.approximate for one in self.tree.walk())


@dataclass(slots=True)
class Explainer:
    """Explains segments of a plan; keeps what it has compiled of them."""

    plan: Plan
    _made: dict[int, tuple[AnswerOf, str, str]] = field(default_factory=dict)
    _named: dict[str, set[str]] = field(default_factory=dict)

    def explain(self, name: str, facts: Facts, now_ms: int) -> Explanation:
        """Why a profile is in the segment `name` of the plan at `now_ms`, or why not. `facts.computed` need not be given."""
        tree = self.at(name, facts, now_ms)
        at_ms, left = _soonest(tree), MAX_WORK
        while at_ms < NEVER and left > 0 and any(one.turns_ms == NEVER and one.holds is not None for one in tree.walk()):
            later = self.at(name, facts, at_ms)
            tree, at_ms, left = _turned(tree, later, at_ms), _soonest(later), left - _work(later)
        return Explanation(name, self.plan.versions[name], tree, at_ms)

    def turns(self, name: str, facts: Facts, now_ms: int, most: int = 100) -> tuple[bool, int]:
        """Whether the profile is a member, and when that turns by itself; NEVER when it does not within `most` changes."""
        tree = self.at(name, facts, now_ms)
        member, at_ms = bool(tree.holds), tree.next_ms
        for _ in range(most):
            if at_ms == NEVER:
                break
            later = self.at(name, facts, at_ms)
            if bool(later.holds) is not member:
                return member, at_ms
            at_ms = later.next_ms
        return member, NEVER

    def at(self, name: str, facts: Facts, now_ms: int) -> Explained:
        """The tree at an instant, without when it turns."""
        if name not in self._named:
            self._named[name] = set(self._computed_of(name))
        found = self.plan.compute(facts, now_ms, self._named[name])
        values = {trait: answer.value for trait, answer in found.items() if answer.value is not None}
        spec = self.plan.segments[name].spec
        return self._node(spec.where, replace(facts, computed=values), now_ms, found)

    def _computed_of(self, name: str) -> Iterator[str]:
        """The computed traits that a segment looks at, through other segments too."""
        for node in walk(self.plan.segments[name].spec.where):
            yield from (trait for path in paths_of(node) if (trait := _computed_name(path)) in self.plan.computed)
            if isinstance(node, InSegment) and node.in_segment in self.plan.segments:
                yield from self._computed_of(node.in_segment)

    def _node(self, node: Node, facts: Facts, now_ms: int, computed: Mapping[str, Answer]) -> Explained:
        if isinstance(node, AllOf | AnyOf | Not):
            inside = tuple(self._node(child, facts, now_ms, computed) for child in children_of(node))
            holds, next_ms = _combined(node, inside)
            return Explained(keyword_of(type(node)), words(node), holds, next_ms=next_ms, inside=inside)
        if isinstance(node, InSegment):
            return self._segment(node, facts, now_ms, computed)
        if id(node) not in self._made:
            self._made[id(node)] = answers(node, self.plan.registers, self.plan.lists), words(node), wanted(node)
        evaluate, text, compared = self._made[id(node)]
        answer = evaluate(facts, now_ms)
        registers = [self.plan.registers[register.key] for register in registers_of(node)]
        paths = paths_of(node)
        inside = tuple(self._computed(name, facts, computed[name]) for path in paths if (name := _computed_name(path)) in computed)
        return Explained(
            keyword=keyword_of(type(node)),
            text=text,
            holds=answer.holds,
            value=self._value(node, answer, facts, now_ms),
            wanted=compared,
            or_more=_or_more(node, answer, registers),
            next_ms=min(answer.next_ms, *(child.next_ms for child in inside)) if inside else answer.next_ms,
            approximate=answer.approximate,
            behind=(*_behind(node, registers, answer, facts, now_ms), *_traits(paths)),
            inside=inside,
        )

    def _segment(self, node: InSegment, facts: Facts, now_ms: int, computed: Mapping[str, Answer]) -> Explained:
        named = self.plan.segments.get(node.in_segment)
        if named is None:
            return Explained("in_segment", f"{words(node)}, which is not defined", holds=False)
        inner = self._node(named.spec.where, facts, now_ms, computed)
        return Explained("in_segment", words(node), inner.holds, next_ms=inner.next_ms, inside=(inner,))

    def _computed(self, name: str, facts: Facts, answer: Answer) -> Explained:
        held = self.plan.computed[name]
        register = held.registers[0]
        tally = facts.tallies.get(register.key, {})
        behind = (
            Behind(register, None, sum(counted[0] for counted in tally.values()))
            if register.form == "tally"
            else Behind(register, tuple(answer.behind), len(answer.behind))
        )
        return Explained(
            COMPUTED,
            computed_words(name, held.spec),
            None,
            answer.value,
            next_ms=answer.next_ms,
            approximate=answer.approximate,
            behind=(behind,) if behind.count else (),
        )

    def _value(self, node: Node, answer: Answer, facts: Facts, now_ms: int) -> Any:
        """What a leaf found, in full."""
        if isinstance(node, InList):
            return len(self.plan.lists.get(node.list, frozenset()).intersection(facts.nodes))
        if isinstance(node, Calendar) and answer.value is not None:
            zone = zone_of(trait_value(node.calendar.zone_trait, facts), node.calendar.zone)
            today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(zone).date()
            return {"date": answer.value, "today": today.isoformat(), "zone": zone.key}
        leaf = leaf_of(node)
        match leaf:
            case OccurrenceLeaf():
                return None if answer.value is None else {"at_ms": answer.value, **_fits(leaf, answer)}
            case AccountLeaf():
                return [{**_group(leaf, one), "fits": group_holds(leaf, one)} for one in facts.accounts]
            case HouseholdLeaf():
                return None if facts.household is None else _group(leaf, facts.household)
        return None if leaf is True else answer.value


def _computed_name(path: str) -> str:
    return path.split(".")[1] if path.startswith("computed.") else ""


def _combined(node: AllOf | AnyOf | Not, inside: tuple[Explained, ...]) -> tuple[bool, int]:
    if isinstance(node, Not):
        return not inside[0].holds, inside[0].next_ms
    settles = isinstance(node, AnyOf)
    settled = [child.next_ms for child in inside if child.holds is settles]
    return (settles, max(settled)) if settled else (not settles, min(child.next_ms for child in inside))


def _work(tree: Explained) -> int:
    return sum(NODE_WORK + sum(behind.count for behind in one.behind if behind.entries) for one in tree.walk())


def _soonest(tree: Explained) -> int:
    return min(one.next_ms for one in tree.walk())


def _turned(now: Explained, later: Explained, at_ms: int) -> Explained:
    """The tree of now with what has turned at `at_ms` noted. Both have the same shape."""
    inside = tuple(_turned(one, other, at_ms) for one, other in zip(now.inside, later.inside, strict=True))
    turned = now.turns_ms == NEVER and now.holds is not None and now.holds is not later.holds
    return replace(now, inside=inside, turns_ms=at_ms if turned else now.turns_ms)


def _fits(leaf: OccurrenceLeaf, answer: Answer) -> dict[str, bool]:
    return {"as_asked": answer.behind[0][2] is not False} if leaf.having else {}


def _group(leaf: AccountLeaf | HouseholdLeaf, group: Group) -> dict[str, Any]:
    found: dict[str, Any] = {"members": group.members}
    if leaf.trait is not None:
        found[leaf.trait.path] = lookup(group.traits, leaf.trait.path)
    if isinstance(leaf, HouseholdLeaf) and leaf.did is not None:
        found[leaf.did.event] = group.counters.get(leaf.did.event, 0)
    return found


def _or_more(node: Node, answer: Answer, registers: Collection[Register]) -> bool:
    """Whether a count ends where its register does."""
    leaf = leaf_of(node)
    counts = isinstance(leaf, DidLeaf | DidNotLeaf) or (isinstance(leaf, AggregateLeaf) and leaf.of == "distinct")
    return counts and any(len(answer.behind) >= register.keep for register in registers)


def _behind(node: Node, registers: list[Register], answer: Answer, facts: Facts, now_ms: int) -> Iterator[Behind]:
    leaf = leaf_of(node)
    for register in registers:
        if register.form == "tally":
            if counted := facts.tallies.get(register.key, {}).get(""):
                yield Behind(register, None, counted[0])
        elif register is registers[0]:
            if answer.behind:
                yield Behind(register, tuple(answer.behind), len(answer.behind))
        elif isinstance(leaf, SequenceLeaf):
            second = leaf.second.within
            followed = tuple(
                entry
                for entry in facts.entries(register)
                if entry[0] <= now_ms
                and any(
                    one[0] < entry[0] and one[2] == entry[2] and (second is None or entry[0] <= one[0] + second)
                    for one in answer.behind
                )
            )
            if followed:
                yield Behind(register, followed, len(followed))


def _traits(paths: tuple[str, ...]) -> Iterator[Behind]:
    for path in paths:
        if not path.startswith("computed."):
            yield Behind(trait=path)
