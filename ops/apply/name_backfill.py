"""Names that definitions read for the first time, put back into the fragments and accounts that had dropped them."""

from collections.abc import Collection
from dataclasses import dataclass

from domain.identity.groups import apply_group_records, decode_group, encode_group
from domain.profiles import bounds
from domain.profiles.fragment import decode_fragment, dropped_kinds, encode_fragment
from domain.profiles.name_seeds import NameSeeds, labels_to_read
from domain.segments.plan_changes import PlanChanges
from domain.segments.retained_names import RetainedNames
from ops.apply.backfill_history import BackfillHistory, Offsets
from ops.apply.paused_partitions import DocumentWrites, PausedPartitions
from ops.apply.stored_profiles import chunks
from profile_store.port import ProfileStore
from schemas.records import GroupRecord


@dataclass(frozen=True, slots=True)
class NameBackfill:
    """Seeds the traits and counts of `changes` that fragments and accounts have dropped; without such it reads no history.

    `retained` are the names that they keep by the new definitions.
    """

    store: ProfileStore
    history: BackfillHistory
    changes: PlanChanges
    retained: RetainedNames

    @property
    def is_needed(self) -> bool:
        """Whether the new plan reads names that the old one did not read."""
        return bool(self.changes.traits or self.changes.labels)

    async def dropping_owners(self) -> set[str]:
        """Return the owners whose fragments have dropped names. Raises Transient."""
        owners: set[str] = set()
        if self.is_needed:
            async for owner, data in self.store.scan("fragment"):
                if dropped_kinds(data):
                    owners.add(owner)
        return owners

    async def seed(self, owners: Collection[str], starts: Offsets, paused: PausedPartitions) -> None:
        """Seed the fragments of `owners`, and those that have dropped names since `starts`, when `owners` were read.

        Call this while the writers are paused and ClickHouse has what they applied. Raises Transient.
        """
        if not self.is_needed:
            return
        candidates = {*owners, *(await self.history.owners_from(starts))}
        applied_offsets: dict[str, int] = {}
        for part in chunks(candidates):
            for owner, document in (await self.store.documents("fragment", part)).items():
                if document.data is not None and dropped_kinds(document.data):
                    topic_partition = paused.topic_partition_of("events", owner)
                    applied_offsets[owner] = paused.applied_offset(topic_partition, document)
        if not applied_offsets:
            return
        seeds = NameSeeds(self.changes.traits, self.changes.labels, applied_offsets)
        labels = labels_to_read(self.changes.traits, self.changes.labels)
        async for block in self.history.events(labels, dict.fromkeys(paused.offsets("events"), 0), {}):
            for _, offset, event in block:
                seeds.fold(offset, event)
        await self._write(seeds, applied_offsets, paused)

    async def _write(self, seeds: NameSeeds, owners: Collection[str], paused: PausedPartitions) -> None:
        for part in chunks(owners):
            writes: DocumentWrites = {}
            for owner, document in (await self.store.documents("fragment", part)).items():
                if document.data is None:
                    continue
                fragment = decode_fragment(document.data)
                seeds.apply_to(owner, fragment)
                if (data := encode_fragment(fragment)) != document.data:
                    topic_partition = paused.topic_partition_of("events", owner)
                    writes.setdefault(topic_partition, {})["fragment", owner] = (data, document)
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)

    async def seed_accounts(self, paused: PausedPartitions) -> None:
        """Seed the traits of accounts that may have dropped some; call this as `seed`. Raises Transient."""
        if not self.changes.traits:
            return
        accounts = {name async for name, data in self.store.scan("group") if len(decode_group(data).traits) >= bounds.MAX_TRAITS}
        if not accounts:
            return
        records: dict[str, list[GroupRecord]] = {}
        async for record in self.history.account_traits(self.changes.traits):
            if record.group_id in accounts:
                records.setdefault(record.group_id, []).append(record)
        for part in chunks(records):
            writes: DocumentWrites = {}
            for name, document in (await self.store.documents("group", part)).items():
                group = decode_group(document.data)
                apply_group_records(group, records[name], self.retained)
                writes.setdefault(paused.topic_partition_of("groups", name), {})["group", name] = (encode_group(group), document)
            for topic_partition, documents in writes.items():
                await paused.write_documents(topic_partition, documents)
