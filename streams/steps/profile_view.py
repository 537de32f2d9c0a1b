"""What the segment step loads about one profile before it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.identity.groups import GroupDocument, build_profile_facts
from domain.identity.model import Members
from domain.identity.rules import HouseholdRules
from domain.profiles.fragment import Fragment
from domain.profiles.join import JoinedProfile
from domain.profiles.membership import Membership
from domain.segments.profile_facts import ProfileFacts
from profile_store.port import GuardedDocument
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class ProfileView:
    """What the store has about one profile and its groups."""

    document: GuardedDocument
    """The profile's membership document, with the guard and the offset that protect it."""
    members: Members
    joined: JoinedProfile
    """The join of the fragments of all members of the profile."""
    fragments: Mapping[str, Fragment]
    """The stored fragments of the members, by node."""
    earlier: tuple[Membership, ...]
    """The memberships of the other members, which were profiles before a merge. Loaded only when the member list is new."""
    parent: Membership | None = None
    """The membership of the profile that this one was split from. Loaded only when the member list is new."""
    alive: bool = True
    """True when at least one member has a stored fragment; False after the profile was forgotten."""
    contributions: Mapping[str, GroupRecord] = field(default_factory=dict)
    """What the profile contributes to accounts and households, by group."""
    visible_groups: Mapping[str, GroupDocument] = field(default_factory=dict)
    """The documents of the profile's groups, for groups that a segment reads."""
    guards: tuple[tuple[str, int], ...] = ()
    """The guard and the last applied offset of each member's fragment."""

    def facts(self, profile_id: str, rule: HouseholdRules | None) -> ProfileFacts:
        """Return what segments read of the profile. `rule` is None when no households are defined."""
        return build_profile_facts(
            self.joined,
            contributions=self.contributions,
            documents=self.visible_groups,
            rule=rule,
            profile_id=profile_id,
            nodes=self.members.nodes,
        )
