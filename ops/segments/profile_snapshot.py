"""The stored state of one profile, as segments see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.identity.groups import GroupDocument, build_profile_facts, decode_group_summary, groups_needed_by, profile_contributions
from domain.identity.rules import HouseholdRules
from domain.profiles.fragment import decode_fragment
from domain.profiles.join import JoinedProfile, join_fragments
from domain.profiles.membership import Membership, decode_membership
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from profile_store.port import ProfileStore
from runtime.settings import Settings
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class ProfileSnapshot:
    """A profile under its present id, and the membership document that was last written for it."""

    profile_id: str
    members: tuple[str, ...]
    joined: JoinedProfile
    facts: ProfileFacts
    membership: Membership


async def read_snapshot(
    settings: Settings, store: ProfileStore, plan: SegmentPlan, rule: HouseholdRules | None, node: str
) -> ProfileSnapshot | None:
    """Read the profile that a node or a profile id (also an earlier one) belongs to; None when it has no events.

    Raises Transient.
    """
    profile_id = (await store.labels([node]))[node].profile_id
    members = (await store.members([profile_id]))[profile_id].nodes
    documents = await store.documents("fragment", members)
    fragments = [decode_fragment(documents[owner].data) for owner in members if documents[owner].data is not None]
    if not fragments:
        return None
    joined = join_fragments(fragments, plan.registers, members, plan.retained)
    secret = settings.tenant_key
    contributions = profile_contributions(joined=joined, profile_id=profile_id, plan=plan, rule=rule, secret=secret)
    facts = build_profile_facts(
        joined=joined,
        contributions=contributions,
        documents=await _read_groups(store, plan, contributions),
        rule=rule,
        profile_id=profile_id,
        nodes=members,
    )
    document = (await store.documents("membership", [profile_id]))[profile_id]
    return ProfileSnapshot(
        profile_id=profile_id, members=members, joined=joined, facts=facts, membership=decode_membership(document.data)
    )


async def _read_groups(
    store: ProfileStore, plan: SegmentPlan, contributions: Mapping[str, GroupRecord]
) -> dict[str, GroupDocument]:
    group_ids = groups_needed_by(plan, contributions)
    documents = await store.documents("group", group_ids) if group_ids else {}
    return {name: decode_group_summary(name, document.data) for name, document in documents.items()}
