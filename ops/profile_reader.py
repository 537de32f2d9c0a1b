"""Reading a profile for the API: its fragments are joined when the request comes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.identity.groups import GroupDocument, account_facts, decode_group, household_facts, profile_contributions
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, HouseholdRules
from domain.profiles.fragment import decode_fragment
from domain.profiles.join import JoinedProfile, join_fragments
from domain.profiles.membership import Membership, decode_membership
from domain.segments.plan import SegmentPlan
from ops.identity.references import format_instant, is_node
from profile_store.port import ProfileStore
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class ProfileReader:
    """Reads profiles from the profile store. Nothing is cached, so an answer is as fresh as the fragments."""

    settings: Settings
    store: ProfileStore
    rules: Callable[[], CompiledIdentityRules] = lambda: DEFAULT_RULES
    plan: Callable[[], SegmentPlan] = lambda: SegmentPlan()

    async def by_reference(self, reference: str) -> dict[str, Any] | None:
        """Return the profile of `namespace:value` or of a profile id, as the methods below do. Raises Invalid for anything else."""
        if is_node(reference):
            return await self.by_id(reference)
        namespace, colon, value = reference.partition(":")
        if not colon:
            raise Invalid("name namespace:value, such as email:an@shop.vn, or a profile id", path="profile", reason="malformed")
        return await self.by_identifier(namespace, value)

    async def by_identifier(self, namespace: str, value: str) -> dict[str, Any] | None:
        """Return the profile that an identifier belongs to, None when no event has named it.

        Raises Invalid for a namespace that does not exist, or a value that no identifier of the namespace can have;
        Transient when Redis does not answer.
        """
        namespaces = self.rules().namespaces
        if namespace not in namespaces:
            raise Invalid(
                f"namespace is unknown: use one of {', '.join(namespaces.names)}", path="namespace", reason="unknown_namespace"
            )
        secret = self.settings.tenant_key
        identifier_and_node = namespaces.identify(namespace, value, secret, self.settings.default_country)
        if identifier_and_node is None:
            reason = f"no identifier of the namespace {namespace} can have this value, or it is a blocked one"
            raise Invalid(reason, path="value", reason="unusable_value")
        return await self.by_id(identifier_and_node[1])

    async def by_id(self, profile_id: str) -> dict[str, Any] | None:
        """Return the profile with this id; the id of a profile that was merged leads to the profile that it was merged into.

        Returns None when there is no event of it. Raises Invalid for a malformed id, Transient when Redis does not answer.
        """
        if not is_node(profile_id):
            raise Invalid("profile_id is not 32 hexadecimal digits", path="profile_id", reason="unusable_value")
        current = (await self.store.labels([profile_id]))[profile_id].profile_id
        members = (await self.store.members([current]))[current].nodes
        documents = await self.store.documents("fragment", members)
        fragments = [decode_fragment(documents[owner].data) for owner in members if documents[owner].data is not None]
        if not fragments:
            return None
        membership = decode_membership((await self.store.documents("membership", [current]))[current].data)
        joined = join_fragments(fragments, {}, members, self.plan().retained)
        return profile_to_json(current, members, joined, membership) | await self._groups(current, joined)

    async def _groups(self, profile_id: str, joined: JoinedProfile) -> dict[str, Any]:
        """Return the profile's accounts, and its household by the live rules, as JSON."""
        rule, secret = self.rules().household, self.settings.tenant_key
        contributions = profile_contributions(joined=joined, profile_id=profile_id, plan=SegmentPlan(), rule=rule, secret=secret)
        documents = await self.store.documents("group", list(contributions)) if contributions else {}
        return groups_to_json(contributions, {name: decode_group(documents[name].data) for name in contributions}, rule)


def groups_to_json(
    contributions: Mapping[str, GroupRecord], documents: Mapping[str, GroupDocument], rule: HouseholdRules | None
) -> dict[str, Any]:
    """Accounts, and the first household that is one, as the answer has them. Pure."""
    accounts = [
        {"account_id": name, "group_id": contributions[name].name, "traits": account.traits, "members": account.members}
        for name, document in documents.items()
        if contributions[name].kind == "account"
        for account in (account_facts(document),)
    ]
    households = (
        {"household_id": name, "traits": seen.traits, "members": seen.members}
        for name, document in documents.items()
        if contributions[name].kind == "household" and (seen := household_facts(document, rule)) is not None
    )
    return {"accounts": accounts, "household": next(households, None)}


def profile_to_json(profile_id: str, members: tuple[str, ...], joined: JoinedProfile, membership: Membership) -> dict[str, Any]:
    """Return the profile as the answer has it. Pure."""
    return {
        "profile_id": profile_id,
        "identifiers": [{"namespace": namespace, "value": value} for namespace, value in joined.identifiers],
        "traits": joined.traits,
        "public_traits": sorted(name for name in joined.traits if not joined.trait_values[name].trusted),
        "computed": membership.computed,
        "counters": joined.counters,
        "dropped_names": joined.dropped_names,
        "first_seen": format_instant(joined.first_seen_ms),
        "last_seen": format_instant(joined.last_seen_ms),
        "segments": [
            {"name": name, "since": format_instant(state.since_ms)}
            for name, state in sorted(membership.segments.items())
            if state.member
        ],
        "members": list(members),
    }
