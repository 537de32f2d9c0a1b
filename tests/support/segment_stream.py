"""A model of the agents that maintains memberships: it evaluates what a change concerns, and what is due at its time."""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.identity.groups import build_profile_facts
from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.join import join_fragments
from domain.profiles.membership import Membership, SegmentState
from domain.segments.evaluation import Evaluation, evaluate_profile
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from schemas.events import Event
from tests.support.segment_histories import Arrival


@dataclass
class SegmentStream:
    """The fragments, labels and memberships of some people. `coalesce` is how often a touch waits for the next one."""

    plan: SegmentPlan
    rng: random.Random
    coalesce: float = 0.3
    fragments: dict[str, Fragment] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Membership] = field(default_factory=dict)
    pending: dict[str, set[str]] = field(default_factory=dict)
    now_ms: int = 0

    def apply_arrival(self, arrival: Arrival) -> None:
        """Let the timers fire that are due before the arrival, then apply it."""
        self.advance_to(arrival.at_ms)
        if arrival.event is not None:
            self.apply_event(arrival.event)
            if self.rng.random() >= self.coalesce:
                self.settle()
        if arrival.labels is not None:
            self.relabel(arrival.labels)

    def apply_event(self, event: Event) -> None:
        """Fold an event into its fragment, and note what it touched."""
        effect = apply_event(self.fragments.setdefault(event.owner, Fragment()), event, self.plan)
        if effect.is_new:
            self.pending.setdefault(self.profile_of(event.owner), set()).update(effect.changes)

    def relabel(self, labels: Mapping[str, str]) -> None:
        """Evaluate anew every profile whose members changed, and forget the profiles that no longer exist."""
        self.settle()
        before = {name: self.members(name) for name in self.documents.keys() | set(labels.values())}
        self.labels = dict(labels)
        for name, nodes in before.items():
            if self.members(name) != nodes:
                self.documents.pop(name, None)
                self.evaluate(name, None)

    def settle(self) -> None:
        """Evaluate what was touched."""
        pending, self.pending = self.pending, {}
        for name, changed in pending.items():
            self.evaluate(name, frozenset(changed))

    def advance_to(self, now_ms: int) -> None:
        """Let time pass: each timer fires when it is due, and nothing else is evaluated."""
        if self.pending and now_ms > self.now_ms:
            self.settle()
        while timers := [(due, name) for name, due in self.due().items() if due <= now_ms]:
            self.now_ms, name = min(timers)
            self.evaluate(name, frozenset())
        self.now_ms = now_ms

    def due(self) -> dict[str, int]:
        """Return the timers that are set, by profile."""
        return {name: min(document.next_change_ms.values()) for name, document in self.documents.items() if document.next_change_ms}

    def evaluate(self, name: str, changed: Collection[str] | None) -> None:
        """Evaluate a profile now, as the segment agent does."""
        if not self.has_events(name):
            self.documents.pop(name, None)
            return
        before = self.documents.get(name, Membership())
        evaluation = evaluate_profile(self.plan, before, self.facts(name), changed, self.now_ms)
        assert all(at_ms > self.now_ms for at_ms in evaluation.due.values()), "a timer is set for what is past"
        self.documents[name] = membership_after(self.plan, before, evaluation)

    def profile_of(self, owner: str) -> str:
        return self.labels.get(owner, owner)

    def members(self, name: str) -> tuple[str, ...]:
        """Return the nodes of a profile. A node without a label is a profile of its own."""
        labelled = {node for node, profile in self.labels.items() if profile == name}
        return tuple(sorted(labelled | ({name} if self.profile_of(name) == name else set())))

    def has_events(self, name: str) -> bool:
        return any(node in self.fragments for node in self.members(name))

    def profiles(self) -> list[str]:
        """Return all profiles that have events."""
        return sorted({self.profile_of(owner) for owner in self.fragments})

    def facts(self, name: str) -> ProfileFacts:
        """Return the facts that segments read of a profile."""
        nodes = self.members(name)
        parts = [self.fragments[node] for node in nodes if node in self.fragments]
        return build_profile_facts(join_fragments(parts, self.plan.registers, nodes, self.plan.retained), {}, {}, None, name, nodes)

    def segment_members(self, segment: str) -> set[str]:
        """Return the members of a segment."""
        return {name for name, document in self.documents.items() if _is_member(document, segment)}

    def computed(self, trait: str) -> dict[str, Any]:
        """Return the values of a computed trait, by profile."""
        return {name: document.computed[trait] for name, document in self.documents.items() if trait in document.computed}


def _is_member(document: Membership, segment: str) -> bool:
    state = document.segments.get(segment)
    return state is not None and state.member


def membership_after(plan: SegmentPlan, before: Membership, evaluation: Evaluation) -> Membership:
    """Return the document after an evaluation."""
    unchanged: Iterable[tuple[str, SegmentState]] = () if evaluation.complete else before.segments.items()
    evaluated = {name: SegmentState(member, 0, 0) for name, member in evaluation.members.items()}
    return Membership(
        segments=dict(unchanged) | evaluated,
        computed=evaluation.computed,
        next_change_ms=evaluation.due,
        plan_fingerprint=plan.fingerprint,
    )
