"""Households that are to count what they did not count before: what each profile contributes is said anew before anybody looks.

Else members of a new segment would be found one by one, as their profiles are looked at again, and not in silence.
"""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from domain.identity.groups import (
    GroupContributions,
    apply_group_records,
    changed_contributions,
    decode_group,
    encode_group,
    profile_contributions,
)
from domain.identity.rules import HouseholdRules
from domain.profiles.baseline import StoredProfile
from domain.profiles.membership import decode_membership, encode_membership
from domain.segments.plan import SegmentPlan
from ops.apply.paused_partitions import PausedPartitions
from ops.apply.stored_profiles import chunks, read_profiles
from profile_store.port import DocumentKind, GuardedDocument, ProfileStore, TopicPartition
from runtime.bus.port import Outgoing, Producer
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import GroupRecord

DocumentWrites = dict[TopicPartition, dict[tuple[DocumentKind, str], tuple[bytes, GuardedDocument]]]


@dataclass(frozen=True, slots=True)
class GroupContributionBackfill:
    """`plan` and `rule` are those to come."""

    settings: Settings
    store: ProfileStore
    plan: SegmentPlan
    rule: HouseholdRules | None
    now_ms: int

    async def run(self, profile_ids: Collection[str], paused: PausedPartitions, producer: Producer) -> None:
        """Say what these profiles contribute, then write it into the groups' documents, and into theirs that it was said."""
        for part in chunks(profile_ids):
            records: list[GroupRecord] = []
            writes: DocumentWrites = {}
            for profile_id, (document, profile) in (await read_profiles(self.store, part)).items():
                contributions = self.contributions_of(profile_id, profile)
                if contributions is None:
                    continue
                records += contributions.records
                membership = msgspec.structs.replace(
                    decode_membership(document.data), groups=contributions.groups, group_seq=contributions.seq
                )
                topic_partition = paused.topic_partition_of("touched", profile_id)
                writes.setdefault(topic_partition, {})["membership", profile_id] = (
                    encode_membership(membership),
                    document,
                )
            topic = self.settings.topic("groups")
            await producer.send([Outgoing(topic, encode(record), key=record.group_id.encode()) for record in records])
            await self._fold_into_groups(records, paused)
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)

    def contributions_of(self, profile_id: str, profile: StoredProfile) -> GroupContributions | None:
        """What is to be said of a profile's groups; None when all of it has been."""
        if not profile.is_alive:
            return None
        before = decode_membership(profile.membership_data)
        secret = self.settings.tenant_secret.get_secret_value().encode()
        current = profile_contributions(profile.join(self.plan), profile_id, self.plan, self.rule, secret)
        contributions = changed_contributions(before.groups, before.group_seq, current, profile_id, self.now_ms)
        return contributions if contributions.records else None

    async def _fold_into_groups(self, records: list[GroupRecord], paused: PausedPartitions) -> None:
        by_group: dict[str, list[GroupRecord]] = {}
        for record in records:
            by_group.setdefault(record.group_id, []).append(record)
        writes: DocumentWrites = {}
        for name, stored in (await self.store.documents("group", sorted(by_group))).items() if by_group else ():
            group = decode_group(stored.data)
            apply_group_records(group, by_group[name])
            writes.setdefault(paused.topic_partition_of("groups", name), {})["group", name] = (encode_group(group), stored)
        for topic_partition, documents in writes.items():
            await paused.write_documents(topic_partition, documents)
