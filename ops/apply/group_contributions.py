"""Households that are to count what they did not count before: what each profile contributes is said anew before anybody looks.

Else members of a new segment would be found one by one, as their profiles are looked at again, and not in silence.
"""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from ops.apply.baseline import Person
from ops.apply.paused_partitions import Frozen
from ops.apply.stored_profiles import chunks, people
from domain.identity import groups
from domain.profiles import membership as memberships
from profile_store.port import Document, Kind, Place, ProfileStore
from runtime.bus.port import Outgoing, Producer
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Grouped
from domain.identity.rules import HouseholdRules
from domain.segments.plan import Plan

Written = dict[Place, dict[tuple[Kind, str], tuple[bytes, Document]]]


@dataclass(frozen=True, slots=True)
class Regroup:
    """`plan` and `rule` are those to come."""

    settings: Settings
    store: ProfileStore
    plan: Plan
    rule: HouseholdRules | None
    now_ms: int

    async def run(self, profile_ids: Collection[str], frozen: Frozen, producer: Producer) -> None:
        """Say what these profiles contribute, then write it into the groups' documents, and into theirs that it was said."""
        for part in chunks(profile_ids):
            said: list[Grouped] = []
            written: Written = {}
            for profile_id, (document, person) in (await people(self.store, part)).items():
                found = self.contributes(profile_id, person)
                if found is None:
                    continue
                said += found.records
                held = msgspec.structs.replace(memberships.decode(document.data), groups=found.groups, group_seq=found.seq)
                place = frozen.place_of("touched", profile_id)
                written.setdefault(place, {})["membership", profile_id] = (memberships.encode(held), document)
            topic = self.settings.topic("groups")
            await producer.send([Outgoing(topic, encode(one), key=one.group_id.encode()) for one in said])
            await self._fold(said, frozen)
            for place, documents in written.items():
                await frozen.put(place, documents)

    def contributes(self, profile_id: str, person: Person) -> groups.Said | None:
        """What is to be said of a profile's groups; None when all of it has been."""
        if not person.alive:
            return None
        before = memberships.decode(person.data)
        secret = self.settings.tenant_secret.get_secret_value().encode()
        now = groups.contributions(person.joined(self.plan), profile_id, self.plan, self.rule, secret)
        found = groups.say(before.groups, before.group_seq, now, profile_id, self.now_ms)
        return found if found.records else None

    async def _fold(self, said: list[Grouped], frozen: Frozen) -> None:
        by_group: dict[str, list[Grouped]] = {}
        for record in said:
            by_group.setdefault(record.group_id, []).append(record)
        written: Written = {}
        for name, stored in (await self.store.documents("group", sorted(by_group))).items() if by_group else ():
            group = groups.decode(stored.data)
            groups.fold(group, by_group[name])
            written.setdefault(frozen.place_of("groups", name), {})["group", name] = (groups.encode(group), stored)
        for place, documents in written.items():
            await frozen.put(place, documents)
