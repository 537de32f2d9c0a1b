"""Who is in new and changed segments at the switch, compared with what their membership documents say. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from domain.identity import groups
from domain.profiles import membership as memberships, fragment as model
from domain.profiles.membership import Membership, SegmentState
from domain.profiles.fragment import Fragment, Joined
from profile_store.port import Members
from schemas.records import Transition
from domain.segments.profile_facts import Facts
from domain.segments.plan import Plan

_OUTSIDE = SegmentState(member=False, seq=0, since_ms=0)


@dataclass(frozen=True, slots=True)
class Person:
    """What is stored of one profile: its membership document, its members, and their fragments."""

    data: bytes | None
    members: Members
    fragments: Sequence[Fragment]

    @property
    def alive(self) -> bool:
        """Whether there is anybody."""
        return not self.members.merged_into and bool(self.fragments)

    def joined(self, plan: Plan) -> Joined:
        """The profile."""
        return model.join(self.fragments, plan.registers, self.members.nodes)


@dataclass(slots=True)
class Tally:
    """Of one segment: how many were in it, are in it, entered and left it."""

    before: int = 0
    now: int = 0
    entered: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The members of the segments to compute by SQL, at `now_ms`. Of the profiles in `behind` SQL knows events that the stream has
    yet to apply: who is a member of them is found from the fragments, but for segments that look at groups (`grouped`), which their
    next evaluation settles."""

    plan: Plan
    now_ms: int
    members: Mapping[str, set[str]]
    grouped: frozenset[str] = frozenset()
    tallies: dict[str, Tally] = field(default_factory=dict)

    def decide(self, profile_id: str, person: Person, *, behind: bool) -> tuple[Membership | None, tuple[Transition, ...]]:
        """The document that the profile is to have (None: the one that it has) and what is to be said."""
        if not person.alive:
            return None, ()
        before = memberships.decode(person.data)
        wanted = self._behind(profile_id, person) if behind else {name: profile_id in ids for name, ids in self.members.items()}
        turned = {name: member for name, member in wanted.items() if member is not before.segments.get(name, _OUTSIDE).member}
        if not turned:
            return None, ()
        joined = person.joined(self.plan)
        computed = self._computed(self._facts(profile_id, person, joined))
        segments, said = dict(before.segments), []
        for name, member in turned.items():
            seq = max(segments.get(name, _OUTSIDE).seq + 1, self.now_ms)
            segments[name] = SegmentState(member=member, seq=seq, since_ms=self.now_ms)
            said.append(
                Transition(
                    profile_id=profile_id,
                    segment=name,
                    segment_version=self.plan.versions[name],
                    op="entered" if member else "exited",
                    seq=seq,
                    at_ms=self.now_ms,
                    evaluated_ms=self.now_ms,
                    cause="backfill",
                    traits=joined.traits,
                    computed=computed,
                )
            )
            tally = self.tallies.setdefault(name, Tally())
            tally.entered, tally.left = tally.entered + member, tally.left + (not member)
        return msgspec.structs.replace(before, segments=segments), tuple(said)

    def _behind(self, profile_id: str, person: Person) -> dict[str, bool]:
        _, verdicts = self.plan.at(self._facts(profile_id, person, person.joined(self.plan)), self.now_ms)
        return {name: verdicts[name].member for name in self.members if name not in self.grouped}

    def _facts(self, profile_id: str, person: Person, joined: Joined) -> Facts:
        return groups.facts(joined, {}, {}, None, profile_id, person.members.nodes)

    def _computed(self, facts: Facts) -> dict[str, object]:
        found = {name: answer.value for name, answer in self.plan.compute(facts, self.now_ms).items()}
        return {name: value for name, value in found.items() if value is not None}
