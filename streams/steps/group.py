"""Group: fold the contributions of profiles into the documents of accounts and households, and touch the members they concern."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from domain.identity.groups import apply_group_records, decode_group, encode_group, leaf_results
from domain.identity.households import group_kind
from domain.identity.rules import HouseholdRules
from domain.segments.plan import SegmentPlan
from profile_store.port import DocumentKind, GuardedDocument, TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.records import GroupRecord, Touched
from streams.outcome import Outcome
from streams.steps.common import DefinedStep, decode_slice, must_wait, touch_record

GroupRecords = list[tuple[int, GroupRecord]]
"""The records of one group in a slice, each with its offset."""


class GroupStep(DefinedStep):
    """Reads `groups`; writes group documents, and emits `touched`.

    A touched profile sends a contribution only if it differs from its last one. So profiles and groups, which cause each other's
    evaluation, do not do so for ever.
    """

    name = "group"
    topic = "groups"

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the documents of the groups, in one round trip, and decide."""
        decoded, quarantine_records = decode_slice(GroupRecord, records, self.name, self._settings, now_ms)
        by_group: dict[str, GroupRecords] = {}
        for record, contribution in decoded:
            by_group.setdefault(contribution.group_id, []).append((record.offset, contribution))
        checkpoint, documents, _ = await self._store.load(topic_partition, "group", list(by_group))
        if must_wait(checkpoint, self._definitions_offset()):
            return Outcome(paused=True)
        outcome = decide(
            self._settings,
            self._plan(),
            self._rules().household,
            topic_partition=topic_partition,
            by_group=by_group,
            documents=documents,
            now_ms=now_ms,
        )
        outcome.results["quarantined"] += len(quarantine_records)
        return replace(
            outcome, expected=checkpoint.position, fence=checkpoint.fence, produce=(*outcome.produce, *quarantine_records)
        )


def decide(
    settings: Settings,
    plan: SegmentPlan,
    rule: HouseholdRules | None,
    *,
    topic_partition: TopicPartition,
    by_group: Mapping[str, GroupRecords],
    documents: Mapping[str, GuardedDocument],
    now_ms: int,
) -> Outcome:
    """Decide what the contributions change. Pure.

    Records that were applied to a document before change nothing. The members of the group are touched again, because a crash may
    have come before their touches were sent.
    """
    changed: dict[tuple[DocumentKind, str], GuardedDocument] = {}
    touched: dict[str, None] = {}
    results: Counter[str] = Counter()
    for name, records in by_group.items():
        stored = documents[name]
        applied = stored.applied_offset(topic_partition)
        fresh = [record for offset, record in records if offset > applied]
        results["stored"] += len(fresh)
        results["replayed"] += len(records) - len(fresh)
        group = decode_group(stored.data)
        before, present = leaf_results(name, group, plan, rule), set(group.members())
        apply_group_records(group, fresh, plan.retained)
        data = encode_group(group)
        if fresh and data != stored.data:
            changed["group", name] = GuardedDocument(data, topic_partition.guard_name, records[-1][0])
        if plan.group_conditions[group_kind(name)]:
            everyone = len(fresh) < len(records) or leaf_results(name, group, plan, rule) != before
            touched |= dict.fromkeys(group.members() if everyone else _newcomers(fresh, present))
    results["touched"] += len(touched)
    return Outcome(writes=Writes(documents=changed), produce=tuple(_touches(settings, touched, now_ms)), results=results)


def _newcomers(fresh: Iterable[GroupRecord], present: set[str]) -> list[str]:
    """Return the profiles that join the group with these records. They were not members when the group last touched its members."""
    return [
        contribution.profile_id
        for contribution in fresh
        if contribution.profile_id and contribution.present and contribution.profile_id not in present
    ]


def _touches(settings: Settings, profile_ids: Iterable[str], now_ms: int) -> Iterable[Outgoing]:
    for name in profile_ids:
        yield touch_record(settings, Touched(profile_id=name, node=name, cause="group", at_ms=now_ms))
