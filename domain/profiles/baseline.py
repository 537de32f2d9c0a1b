"""The baseline of segments: who is a member when a definition becomes live, and what has to be published for that. Pure.

**Why.** Everybody who is a member of a new segment by history has to be in it at once, without a message to a channel: these
people did nothing just now. So their transitions are published with the cause `backfill`, which activation ignores, before
any agent evaluates the segment. An agent that evaluates a profile afterwards finds the membership already there, and
publishes nothing.

**Invariant.** A transition is published only where the profile's membership document does not have it yet. So an interrupted
backfill can run again: it publishes what is missing, and repeats at most the transitions whose documents were not written,
with larger numbers.

**Example.** By SQL the segment `vip` has the profiles A and B at 12:00. A's document says that A is a member with number 5:
nothing is published about A. B's document does not mention `vip`: B enters with the instant in milliseconds as its number. C is
not a member by SQL, but C's document says member with number 7, from an earlier version of `vip`: C exits. An event of D is
in ClickHouse, but D's fragment has not applied it. SQL counts that event and the fragments do not, so D is evaluated from the
fragments, and the event makes D enter later, live.
"""

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
    """What the profile store has of one profile: the bytes of its membership document, its members, and their fragments."""

    membership_data: bytes | None
    members: Members
    fragments: Sequence[Fragment]

    @property
    def is_alive(self) -> bool:
        """Whether the profile exists: it was not merged into another one, and an event of it is stored."""
        return not self.members.merged_into and bool(self.fragments)

    def join(self, plan: SegmentPlan) -> JoinedProfile:
        """Return the join of the fragments, with the registers of the plan."""
        return join_fragments(self.fragments, plan.registers, self.members.nodes, plan.retained)


@dataclass(slots=True)
class SegmentTally:
    """How many profiles were in one segment before the backfill and are in it after, and how many entered and exited by it."""

    before: int = 0
    after: int = 0
    entered: int = 0
    exited: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The members of the computed segments by SQL at the instant `now_ms`, against which single profiles are compared.

    `members` are the profile ids by segment. `group_segments` are the segments that read accounts or households. `tallies` counts
    by segment the transitions that `decide` returned.
    """

    plan: SegmentPlan
    now_ms: int
    members: Mapping[str, set[str]]
    group_segments: frozenset[str] = frozenset()
    tallies: dict[str, SegmentTally] = field(default_factory=dict)

    def decide(
        self, profile_id: str, profile: StoredProfile, *, is_behind: bool
    ) -> tuple[Membership | None, tuple[Transition, ...]]:
        """Return the membership document to write, None when the stored one is right, and the transitions to publish before that.

        `is_behind` says that ClickHouse has events of the profile that its fragments have not applied. Its members are then found
        from the fragments, except those of `group_segments`: a group cannot be read from one profile's fragments, so the next
        evaluation of the profile settles these.
        """
        if not profile.is_alive:
            return None, ()
        before = decode_membership(profile.membership_data)
        # By SQL a profile that is behind might enter because of an event that its fragments have not applied. It would enter as
        # `backfill`, and no channel would hear of an event that is happening now.
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
            # Numbers of a segment only grow, also when an interrupted backfill is repeated: consumers keep the largest one.
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
            tally.entered += member
            tally.exited += not member
        return msgspec.structs.replace(before, segments=segments), tuple(transitions)

    def _members_from_fragments(self, profile_id: str, profile: StoredProfile) -> dict[str, bool]:
        _, verdicts = self.plan.evaluate_all(self._facts(profile_id, profile, profile.join(self.plan)), self.now_ms)
        return {name: verdicts[name].is_member for name in self.members if name not in self.group_segments}

    def _facts(self, profile_id: str, profile: StoredProfile, joined: JoinedProfile) -> ProfileFacts:
        # Without groups: `_members_from_fragments` leaves out the segments that read them, so no group has to be loaded here.
        return build_profile_facts(joined, {}, {}, None, profile_id, profile.members.nodes)

    def _computed(self, facts: ProfileFacts) -> dict[str, object]:
        computed = {name: answer.value for name, answer in self.plan.evaluate_computed(facts, self.now_ms).items()}
        return {name: value for name, value in computed.items() if value is not None}
