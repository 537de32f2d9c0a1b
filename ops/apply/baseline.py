"""Who is in new and changed segments at the switch, compared with what their membership documents say. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from domain.identity.groups import build_profile_facts
from domain.identity.model import Members
from domain.profiles.fragment import Fragment
from domain.profiles.join import JoinedProfile, join_fragments
from domain.profiles.membership import Membership, SegmentState, decode_membership
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from schemas.records import Transition

_NEVER_MEMBER = SegmentState(member=False, seq=0, since_ms=0)


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """What is stored of one profile: its membership document, its members, and their fragments."""

    membership_data: bytes | None
    members: Members
    fragments: Sequence[Fragment]

    @property
    def is_alive(self) -> bool:
        """Whether there is anybody."""
        return not self.members.merged_into and bool(self.fragments)

    def join(self, plan: SegmentPlan) -> JoinedProfile:
        """The profile."""
        return join_fragments(self.fragments, plan.registers, self.members.nodes)


@dataclass(slots=True)
class SegmentTally:
    """Of one segment: how many were in it, are in it, entered and left it."""

    before: int = 0
    now: int = 0
    entered: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The members of the segments to compute by SQL, at `now_ms`. Of the profiles in `is_behind` SQL knows events that the
    stream has
    yet to apply: who is a member of them is found from the fragments, but for segments that look at groups (`group_segments`),
    which their
    next evaluation settles."""

    plan: SegmentPlan
    now_ms: int
    members: Mapping[str, set[str]]
    group_segments: frozenset[str] = frozenset()
    tallies: dict[str, SegmentTally] = field(default_factory=dict)

    def decide(
        self, profile_id: str, profile: StoredProfile, *, is_behind: bool
    ) -> tuple[Membership | None, tuple[Transition, ...]]:
        """The document that the profile is to have (None: the one that it has) and what is to be said."""
        if not profile.is_alive:
            return None, ()
        before = decode_membership(profile.membership_data)
        expected = (
            self._members_from_fragments(profile_id, profile)
            if is_behind
            else {name: profile_id in ids for name, ids in self.members.items()}
        )
        changed = {
            name: member for name, member in expected.items() if member is not before.segments.get(name, _NEVER_MEMBER).member
        }
        if not changed:
            return None, ()
        joined = profile.join(self.plan)
        computed = self._computed(self._facts(profile_id, profile, joined))
        segments, transitions = dict(before.segments), []
        for name, member in changed.items():
            seq = max(segments.get(name, _NEVER_MEMBER).seq + 1, self.now_ms)
            segments[name] = SegmentState(member=member, seq=seq, since_ms=self.now_ms)
            transitions.append(
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
            tally = self.tallies.setdefault(name, SegmentTally())
            tally.entered, tally.left = tally.entered + member, tally.left + (not member)
        return msgspec.structs.replace(before, segments=segments), tuple(transitions)

    def _members_from_fragments(self, profile_id: str, profile: StoredProfile) -> dict[str, bool]:
        _, verdicts = self.plan.evaluate_all(self._facts(profile_id, profile, profile.join(self.plan)), self.now_ms)
        return {name: verdicts[name].is_member for name in self.members if name not in self.group_segments}

    def _facts(self, profile_id: str, profile: StoredProfile, joined: JoinedProfile) -> ProfileFacts:
        return build_profile_facts(joined, {}, {}, None, profile_id, profile.members.nodes)

    def _computed(self, facts: ProfileFacts) -> dict[str, object]:
        computed = {name: answer.value for name, answer in self.plan.evaluate_computed(facts, self.now_ms).items()}
        return {name: value for name, value in computed.items() if value is not None}
