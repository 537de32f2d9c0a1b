"""All segments together: which leaf states an event feeds, and who is a member now. Pure."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from segments.definitions import Segment
from segments.language import (
    Account,
    AccountLeaf,
    AllOf,
    Condition,
    Did,
    DidLeaf,
    Household,
    HouseholdLeaf,
    InSegment,
    Node,
    Not,
    PropertyCondition,
    Trait,
    version_of,
    walk,
)

LeafState = list[tuple[int, str]]
"""Event times of a leaf, newest first: (time_ms, message hash)."""

NEVER: Final = 1 << 62


def keep_newest(times: Iterable[tuple[int, str]], limit: int) -> LeafState:
    """The `limit` newest of a set of event times, newest first; joins of it are joins of sets."""
    return sorted(set(times), reverse=True)[:limit]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a profile is in a segment, and the next instant at which that can change by time alone (NEVER if it cannot)."""

    member: bool
    next_change_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """What segments see of an account or a household. `counters` are cut off where the segments ask."""

    traits: Mapping[str, Any]
    members: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What segments look at: a profile's traits and leaf states, its accounts, its household if it has one."""

    traits: Mapping[str, Any]
    leaves: Mapping[str, Sequence[tuple[int, str]]]
    accounts: Sequence[Group] = ()
    household: Group | None = None


class CyclicSegments(ValueError):
    """`in_segment` must not lead back to the segment itself; the text names the circle."""


class Plan:
    """Compiled segments. Holds no state; made anew when a definition changes."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments: dict[str, Segment] = {s.metadata.name: s for s in _in_order(list(segments))}
        self.versions = {name: version_of(segment.spec) for name, segment in self.segments.items()}
        self.limits: dict[str, int] = {}
        self.account_leaves: list[AccountLeaf] = []
        self.household_leaves: list[HouseholdLeaf] = []
        self.household_limits: dict[str, int] = {}
        self._by_label: dict[str, list[tuple[str, tuple[PropertyCondition, ...]]]] = {}
        for segment in self.segments.values():
            for node in walk(segment.spec.where):
                if isinstance(node, Did):
                    self._register(node.did)
                elif isinstance(node, Account):
                    self.account_leaves.append(node.account)
                elif isinstance(node, Household):
                    self._register_household(node.household)

    def _register(self, leaf: DidLeaf) -> None:
        key = leaf.state_key()
        if key not in self.limits:
            self._by_label.setdefault(leaf.event, []).append((key, leaf.where))
        self.limits[key] = max(self.limits.get(key, 0), leaf.at_least)

    def _register_household(self, leaf: HouseholdLeaf) -> None:
        self.household_leaves.append(leaf)
        if leaf.did is not None:
            self.household_limits[leaf.did.event] = max(self.household_limits.get(leaf.did.event, 0), leaf.did.at_least)

    def leaves_of(self, label: str, properties: Mapping[str, Any]) -> list[tuple[str, int]]:
        """The leaf states that an event feeds: (key, how many times it keeps)."""
        return [
            (key, self.limits[key])
            for key, where in self._by_label.get(label, ())
            if all(holds(condition, lookup(properties, condition.prop)) for condition in where)
        ]

    def evaluate(self, facts: Facts, now_ms: int) -> dict[str, Verdict]:
        """Every segment's verdict on a profile at `now_ms`."""
        verdicts: dict[str, Verdict] = {}
        for name, segment in self.segments.items():
            verdicts[name] = _evaluate(segment.spec.where, facts, now_ms, verdicts)
        return verdicts


def _in_order(segments: list[Segment]) -> list[Segment]:
    """Segments with those that they name first; a name that is not defined counts as nobody's."""
    by_name = {segment.metadata.name: segment for segment in sorted(segments, key=lambda s: s.metadata.name)}
    done: dict[str, Segment] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise CyclicSegments(f"in_segment leads in a circle: {' -> '.join((*path, name))}")
        if name in done or name not in by_name:
            return
        for node in walk(by_name[name].spec.where):
            if isinstance(node, InSegment):
                visit(node.in_segment, (*path, name))
        done[name] = by_name[name]

    for name in by_name:
        visit(name, ())
    return list(done.values())


def _evaluate(node: Node, facts: Facts, now_ms: int, earlier: Mapping[str, Verdict]) -> Verdict:
    if isinstance(node, Trait):
        return Verdict(holds(node.trait, lookup(facts.traits, node.trait.path)), NEVER)
    if isinstance(node, Did):
        return did(node.did, facts.leaves.get(node.did.state_key(), ()), now_ms)
    if isinstance(node, Account):
        return Verdict(any(group_holds(node.account, account) for account in facts.accounts), NEVER)
    if isinstance(node, Household):
        return Verdict(facts.household is not None and group_holds(node.household, facts.household), NEVER)
    if isinstance(node, InSegment):
        return earlier.get(node.in_segment, Verdict(member=False, next_change_ms=NEVER))
    if isinstance(node, Not):
        inner = _evaluate(node.not_, facts, now_ms, earlier)
        return Verdict(not inner.member, inner.next_change_ms)
    children = [_evaluate(child, facts, now_ms, earlier) for child in (node.all if isinstance(node, AllOf) else node.any)]
    member = all(v.member for v in children) if isinstance(node, AllOf) else any(v.member for v in children)
    return Verdict(member, min(v.next_change_ms for v in children))


def did(leaf: DidLeaf, times: Sequence[tuple[int, str]], now_ms: int) -> Verdict:
    """At least `at_least` times in (now - within, now]. `times` are newest first."""
    past = [time for time, _ in times if time <= now_ms]
    starts = min((time for time, _ in times if time > now_ms), default=NEVER)
    if leaf.within is None:
        return Verdict(len(past) >= leaf.at_least, starts)
    inside = [time for time in past if time > now_ms - leaf.within]
    if len(inside) < leaf.at_least:
        return Verdict(member=False, next_change_ms=starts)
    return Verdict(member=True, next_change_ms=min(starts, inside[leaf.at_least - 1] + leaf.within))


def group_holds(leaf: AccountLeaf | HouseholdLeaf, group: Group) -> bool:
    """Whether all that a leaf asks of an account or a household holds of this one."""
    if leaf.members is not None and group.members < leaf.members.at_least:
        return False
    if leaf.trait is not None and not holds(leaf.trait, lookup(group.traits, leaf.trait.path)):
        return False
    did = leaf.did if isinstance(leaf, HouseholdLeaf) else None
    return did is None or group.counters.get(did.event, 0) >= did.at_least


def lookup(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, the whole path as a key first; None when there is none."""
    if path in values:
        return values[path]
    found: Any = values
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def holds(condition: Condition, value: Any) -> bool:
    """Whether a condition holds of a value; a missing value or one of another kind makes it false (but `exists: false`)."""
    if condition.op == "exists":
        return (value is not None) is (condition.value is not False)
    if value is None:
        return False
    left, right = _canonical(value), condition.value
    if condition.op == "in":
        return isinstance(right, tuple) and any(_equal(left, _canonical(option)) for option in right)
    right = _canonical(right)
    if condition.op in _ON_TEXT:
        if condition.op == "contains" and isinstance(left, list):
            return any(_equal(_canonical(item), right) for item in left)
        return isinstance(left, str) and isinstance(right, str) and _ON_TEXT[condition.op](left, right)
    if condition.op == "eq":
        return _equal(left, right)
    if condition.op == "ne":
        return not _equal(left, right)
    return _kind(left) == _kind(right) in ("number", "text") and _ON_ORDER[condition.op](left, right)


_ON_TEXT: Final[dict[str, Callable[[str, str], bool]]] = {
    "contains": lambda a, b: b in a,
    "starts_with": lambda a, b: a.startswith(b),
}
_ON_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda a, b: bool(a < b),
    "lte": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "gte": lambda a, b: bool(a >= b),
}


def _canonical(value: Any) -> Any:
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def _equal(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and bool(left == right)
