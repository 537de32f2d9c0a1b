"""Counts that households are asked for the first time: contributions are published before the new definitions are live.

**Why.** A household counts what its members have contributed. When a new segment asks for a count that nobody contributed
yet, the agents would find it out profile by profile in the evaluation that follows the switch, and every household that
fulfils the segment would enter it then, with live transitions and messages to channels. Contributed beforehand, they enter
silently by the baseline.

**Invariant.** Published, folded into the groups' documents, and noted in the membership documents, in this order. A crash in
between repeats records, which is harmless: a group takes a contribution only when its number is larger than the stored one.

**Example.** A household of An and Binh is asked for "at least 3 orders". An has 2 orders and Binh 1. Two records are
published, An: 2 and Binh: 1, and the group's document then says 3. Both membership documents note the hash of what was
contributed, so that the segment agent's next evaluation of An has nothing to publish.
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
from ops.apply.paused_partitions import DocumentWrites, PausedPartitions
from ops.apply.stored_profiles import chunks, read_profiles
from profile_store.port import ProfileStore
from runtime.bus.port import Outgoing, Producer
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class GroupContributionBackfill:
    """Publishes contributions by `plan` and `rule`, which are about to become live, as of `now_ms`."""

    settings: Settings
    store: ProfileStore
    plan: SegmentPlan
    rule: HouseholdRules | None
    now_ms: int

    async def run(self, profile_ids: Collection[str], paused: PausedPartitions, producer: Producer) -> None:
        """Publish what these profiles contribute and have not contributed yet, and write it into the documents.

        Call this while the writers are paused. Raises Transient.
        """
        for part in chunks(profile_ids):
            records: list[GroupRecord] = []
            writes: DocumentWrites = {}
            for profile_id, (document, profile) in (await read_profiles(self.store, part)).items():
                contributions = self.contributions_of(profile_id, profile)
                if contributions is None:
                    continue
                records += contributions.records
                membership = msgspec.structs.replace(
                    decode_membership(document.data), emitted_group_hashes=contributions.emitted_hashes, group_seq=contributions.seq
                )
                topic_partition = paused.topic_partition_of("touched", profile_id)
                writes.setdefault(topic_partition, {})["membership", profile_id] = (
                    encode_membership(membership),
                    document,
                )
            # Published first. In another order, a crash could leave a contribution that the membership document notes as emitted
            # and that no group ever receives.
            topic = self.settings.topic("groups")
            await producer.send([Outgoing(topic, encode(record), key=record.group_id.encode()) for record in records])
            # The group agent is paused. When it reads the records later, their numbers are those that the group has already.
            await self._fold_into_groups(records, paused)
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)

    def contributions_of(self, profile_id: str, profile: StoredProfile) -> GroupContributions | None:
        """Return the contributions to publish of a profile, None when all of them have been published."""
        if not profile.is_alive:
            # What a merged profile contributed is taken back by its last evaluation, which is the segment agent's.
            return None
        before = decode_membership(profile.membership_data)
        secret = self.settings.tenant_key
        current = profile_contributions(
            joined=profile.join(self.plan), profile_id=profile_id, plan=self.plan, rule=self.rule, secret=secret
        )
        contributions = changed_contributions(
            emitted_hashes=before.emitted_group_hashes,
            seq=before.group_seq,
            current=current,
            profile_id=profile_id,
            now_ms=self.now_ms,
        )
        return contributions if contributions.records else None

    async def _fold_into_groups(self, records: list[GroupRecord], paused: PausedPartitions) -> None:
        """Fold the records into the documents of their groups, as the group agent will when it reads them."""
        by_group: dict[str, list[GroupRecord]] = {}
        for record in records:
            by_group.setdefault(record.group_id, []).append(record)
        writes: DocumentWrites = {}
        for name, stored in (await self.store.documents("group", sorted(by_group))).items() if by_group else ():
            group = decode_group(stored.data)
            apply_group_records(group, by_group[name], self.plan.retained)
            writes.setdefault(paused.topic_partition_of("groups", name), {})["group", name] = (encode_group(group), stored)
        for topic_partition, documents in writes.items():
            await paused.write_documents(topic_partition, documents)
