"""Which segments a profile enters or leaves by an evaluation, and why: the cause, the event, the instant. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from domain.identity.rules import HouseholdRules
from domain.profiles.join import join_fragments
from domain.profiles.membership import Membership, SegmentState
from domain.profiles.turning import Candidate, Turn, TurnFinder, candidates_of
from domain.segments.evaluation import Evaluation
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from schemas.instants import NEVER
from schemas.records import LIVE_CAUSES, Cause
from streams.steps.profile_view import ProfileView
from streams.steps.touches import Touches

OUTSIDE = SegmentState(member=False, seq=0, since_ms=0)


@dataclass(frozen=True, slots=True)
class TurnedSegment:
    """A segment that the profile enters or leaves. `event_id` is empty when no event made it; `at_ms` is when it happened."""

    name: str
    member: bool
    cause: Cause
    at_ms: int
    event_id: str = ""


@dataclass(frozen=True)
class SegmentTurns:
    """The turned segments of one evaluation of a profile at `now_ms`; `before` is the membership document of the last one."""

    plan: SegmentPlan
    rule: HouseholdRules | None
    before: Membership
    view: ProfileView
    profile_id: str
    touched: Touches
    evaluation: Evaluation
    is_relabelled: bool
    now_ms: int

    def all(self) -> Iterator[TurnedSegment]:
        """Yield each segment that turned, by name.

        What only restates a membership under another profile id is a merge or a split. What happened to the customer is explained
        by `TurnFinder`, and what a change of definitions or a repair found has their cause.
        """
        view, evaluation = self.view, self.evaluation
        merged = set(self.before.previous_segments if self.before.dissolved_into else ()).union(
            *(document.segments_inherited_by_merge(self.before.label_version) for document in view.earlier)
        )
        split = view.parent.segments_inherited_by_split(view.members.version) if view.parent is not None else set()
        undefined = self.before.segments.keys() - evaluation.members.keys() if evaluation.complete else set()
        for name in sorted(evaluation.members.keys() | undefined):
            member = evaluation.members.get(name, False)
            if member == self.before.segments.get(name, OUTSIDE).member:
                continue
            if name in undefined:
                yield TurnedSegment(name, member, "definition", self.now_ms)
            elif member and name in split | merged:
                yield TurnedSegment(name, member, "split" if name in split else "merge", self.now_ms)
            elif self.touched.since_ms:
                yield self._turned_since_definitions_changed(name, member=member)
            elif self.touched.causes.isdisjoint(LIVE_CAUSES):
                yield TurnedSegment(name, member, self.touched.cause, self.now_ms)
            else:
                yield self._turned_live(name, member=member)

    def _turned_since_definitions_changed(self, name: str, *, member: bool) -> TurnedSegment:
        """Explain a segment that a change of definitions found turned.

        The same facts are evaluated as of the instant of that change: a membership that was different then has changed by time
        since, not by the definitions.
        """
        then = self.plan.result_at(name, self._facts, self.touched.since_ms)
        if then.is_member is not member and then.next_change_ms < NEVER:
            return TurnedSegment(name, member, "timer", then.next_change_ms)
        return TurnedSegment(name, member, self.touched.cause, self.now_ms)

    def _turned_live(self, name: str, *, member: bool) -> TurnedSegment:
        due_ms = self.before.next_change_ms.get(name, NEVER)
        is_due = due_ms <= self.now_ms
        turn = self._only_event_of(name) if not is_due else None
        turn = turn or self._finder.find(name, due_ms if is_due else None, is_member=member)
        if turn is None:
            return self._unexplained(name, due_ms, member=member)
        if turn.event_id:
            return TurnedSegment(name, member, "event", self.now_ms, turn.event_id)
        return TurnedSegment(name, member, "timer", turn.at_ms)

    def _only_event_of(self, name: str) -> Turn | None:
        """Return the event when nothing else can have turned the segment, so that nothing has to be evaluated again."""
        if self.is_relabelled or self.touched.causes != {"event"}:
            return None
        candidates = [candidate for candidate in self._candidates if name in candidate.segments]
        is_only = len(candidates) == 1 and candidates[0].is_touched
        return Turn(event_id=candidates[0].event.id) if is_only else None

    def _unexplained(self, name: str, due_ms: int, *, member: bool) -> TurnedSegment:
        """Explain a segment that neither an event nor time turned: by other identifiers, a repair, or a group.

        Without any of these the facts do not show it any more, since a register has dropped what the event or the timer was about.
        """
        if self.is_relabelled or "link" in self.touched.causes:
            return TurnedSegment(name, member, "link", self.now_ms)
        if silent := sorted(self.touched.causes - LIVE_CAUSES):
            return TurnedSegment(name, member, silent[0], self.now_ms)
        if self.plan.reads_groups(name):
            return TurnedSegment(name, member, "group", self.now_ms)
        if due_ms <= self.now_ms:
            return TurnedSegment(name, member, "timer", due_ms)
        candidates = [candidate for candidate in self._candidates if name in candidate.segments]
        candidates.sort(key=lambda candidate: candidate.is_touched)  # stable: of those with a touch the latest is the last
        event_id = candidates[-1].event.id if candidates else self.touched.event_id
        return TurnedSegment(name, member, "event", self.now_ms, event_id)

    @cached_property
    def _candidates(self) -> list[Candidate]:
        # A profile with other members has events that it was never evaluated with. Of these only what came after a due timer
        # counts, since anything earlier belongs to the link that brought them.
        since_ms = self.before.evaluated_ms
        if self.is_relabelled:
            since_ms = self.touched.due_ms or self.now_ms
        return candidates_of(self.plan, self.touched.events, self.view.fragments, since_ms)

    @cached_property
    def _finder(self) -> TurnFinder:
        return TurnFinder(
            plan=self.plan,
            fragments=self.view.fragments,
            facts_of=lambda fragments: replace(
                self.view,
                joined=join_fragments(fragments.values(), self.plan.registers, self.view.members.nodes, self.plan.retained),
            ).facts(self.profile_id, self.rule),
            candidates=self._candidates,
            now_ms=self.now_ms,
        )

    @cached_property
    def _facts(self) -> ProfileFacts:
        return self.view.facts(self.profile_id, self.rule)
