"""What is stored about one person now, as segments see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.identity import groups
from domain.profiles import membership as memberships, fragment as model
from domain.profiles.membership import Membership
from domain.profiles.fragment import Joined
from profile_store.port import ProfileStore
from runtime.settings import Settings
from schemas.records import Grouped
from domain.segments.profile_facts import Facts
from domain.identity.rules import HouseholdRules
from domain.segments.plan import Plan


@dataclass(frozen=True, slots=True)
class Person:
    """A profile under its present id, and the membership document that was last written for it."""

    profile_id: str
    members: tuple[str, ...]
    joined: Joined
    facts: Facts
    held: Membership


async def read(settings: Settings, store: ProfileStore, plan: Plan, rule: HouseholdRules | None, node: str) -> Person | None:
    """The person that a node (or a profile id, also one of before) belongs to; None when there are no events of it."""
    profile_id = (await store.labels([node]))[node].profile_id
    members = (await store.members([profile_id]))[profile_id].nodes
    documents = await store.documents("fragment", members)
    fragments = [model.decode(documents[owner].data) for owner in members if documents[owner].data is not None]
    if not fragments:
        return None
    joined = model.join(fragments, plan.registers, members)
    secret = settings.tenant_secret.get_secret_value().encode()
    contributes = groups.contributions(joined, profile_id, plan, rule, secret)
    facts = groups.facts(joined, contributes, await _seen(store, plan, contributes), rule, profile_id, members)
    document = (await store.documents("membership", [profile_id]))[profile_id]
    return Person(profile_id, members, joined, facts, memberships.decode(document.data))


async def _seen(store: ProfileStore, plan: Plan, contributes: Mapping[str, Grouped]) -> dict[str, groups.Group]:
    wanted = groups.seen_by(plan, contributes)
    found = await store.documents("group", wanted) if wanted else {}
    return {name: groups.glance(name, document.data) for name, document in found.items()}
