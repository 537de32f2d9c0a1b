"""What the segment step loads about one profile before it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.identity.groups import GroupDocument
from domain.identity.model import Members
from domain.profiles.join import JoinedProfile
from domain.profiles.membership import Membership
from profile_store.port import GuardedDocument
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class ProfileView:
    """What is stored about one profile."""

    document: GuardedDocument
    """Its membership document."""
    members: Members
    joined: JoinedProfile
    """The join of the fragments of its members."""
    earlier: tuple[Membership, ...]
    """The memberships of its other members, who were profiles once. Read when the member list is new."""
    parent: Membership | None = None
    """The membership of the profile that it was split from. Read when the member list is new."""
    alive: bool = True
    """True when one of its members has events."""
    contributions: Mapping[str, GroupRecord] = field(default_factory=dict)
    """What it contributes to its groups, by group."""
    visible_groups: Mapping[str, GroupDocument] = field(default_factory=dict)
    """The documents of those of its groups that segments look at."""
    guards: tuple[tuple[str, int], ...] = ()
    """The guard and the applied offset of each of its fragments."""
