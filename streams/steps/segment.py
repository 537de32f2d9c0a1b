"""Segment: join the fragments of a touched profile, evaluate its segments, emit the changes, set a timer for the next one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from domain.identity.groups import (
    changed_contributions,
    decode_group_summary,
    groups_needed_by,
    profile_contributions,
)
from domain.identity.model import Members
from domain.identity.rules import HouseholdRules
from domain.profiles.fragment import decode_fragment
from domain.profiles.join import JoinedProfile, join_fragments
from domain.profiles.membership import DISSOLVED_INTO_MANY, Membership, SegmentState, decode_membership, encode_membership
from domain.segments.evaluation import Evaluation, evaluate_profile
from domain.segments.plan import SegmentPlan
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.hashes import short_hash
from schemas.records import GroupRecord, Profile, Touched, Transition
from streams.outcome import Outcome
from streams.steps.common import DefinedStep, contribution_record, decode_slice, must_wait, touch_record
from streams.steps.profile_view import ProfileView
from streams.steps.touches import Touches, coalesce, forward
from streams.steps.turned_segments import OUTSIDE, SegmentTurns


class SegmentStep(DefinedStep):
    """Reads `touched`; writes memberships and timers, and emits `memberships`, `profiles` and contributions to `groups`."""

    name = "segment"
    topic = "touched"

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load what is stored about the touched profiles, and decide their memberships.

        A slice takes four round trips: documents and labels, members, fragments, and documents of members that are new to a
        profile. It takes a fifth for groups, if a segment reads groups and one of the profiles belongs to a group.
        """
        decoded, quarantine_records = decode_slice(Touched, records, self.name, self._settings, now_ms)
        touches = coalesce(decoded)
        nodes = sorted({node for t in touches.values() for node in t.nodes})
        checkpoint, documents, labels = await self._store.load(topic_partition, "membership", list(touches), nodes)
        if must_wait(checkpoint, self._definitions_offset()):
            return Outcome(paused=True)
        plan, rule = self._plan(), self._rules().household
        views = await self._with_groups(await self._views(documents, plan), plan, rule)
        outcome = decide(self._settings, plan, rule, topic_partition=topic_partition, touches=touches, views=views, now_ms=now_ms)
        forwards = [touch_record(self._settings, record) for record in forward(touches, labels, now_ms)]
        outcome.results["quarantined"] += len(quarantine_records)
        return replace(
            outcome,
            expected=checkpoint.position,
            fence=checkpoint.fence,
            produce=(*outcome.produce, *forwards, *quarantine_records),
        )

    async def _views(self, documents: Mapping[str, GuardedDocument], plan: SegmentPlan) -> dict[str, ProfileView]:
        members = await self._store.members(list(documents))
        nodes = sorted({node for entry in members.values() for node in entry.nodes})
        fragments = await self._store.documents("fragment", nodes)
        relabelled = {
            profile_id
            for profile_id, entry in members.items()
            if decode_membership(documents[profile_id].data).label_version < entry.version
        }
        newcomers = sorted({node for name in relabelled for node in _related_profiles(members[name])} - documents.keys())
        documents_by_id = {**documents, **(await self._store.documents("membership", newcomers) if newcomers else {})}
        membership_by_id = {node: decode_membership(document.data) for node, document in documents_by_id.items()}
        decoded = {node: decode_fragment(document.data) for node, document in fragments.items() if document.data is not None}
        parts = {name: {node: decoded[node] for node in entry.nodes if node in decoded} for name, entry in members.items()}
        return {
            profile_id: ProfileView(
                document=documents[profile_id],
                members=entry,
                joined=join_fragments(parts[profile_id].values(), plan.registers, entry.nodes, plan.retained),
                fragments=parts[profile_id],
                earlier=tuple(membership_by_id[node] for node in entry.nodes if node != profile_id and node in membership_by_id),
                parent=membership_by_id.get(entry.split_from) if profile_id in relabelled else None,
                alive=bool(parts[profile_id]),
                guards=tuple((fragments[node].guard, fragments[node].offset) for node in entry.nodes),
            )
            for profile_id, entry in members.items()
        }

    async def _with_groups(
        self, views: Mapping[str, ProfileView], plan: SegmentPlan, rule: HouseholdRules | None
    ) -> dict[str, ProfileView]:
        """Return the views, completed by what each profile contributes to its groups and what segments see of them."""
        if rule is None and not any(view.joined.accounts for view in views.values()):
            return dict(views)
        secret = self._settings.tenant_key
        contributions = {
            profile_id: profile_contributions(view.joined, profile_id, plan, rule, secret) if view.alive else {}
            for profile_id, view in views.items()
        }
        group_ids = sorted({name for contributed in contributions.values() for name in groups_needed_by(plan, contributed)})
        documents = await self._store.documents("group", group_ids) if group_ids else {}
        group_by_id = {name: decode_group_summary(name, document.data) for name, document in documents.items()}
        return {
            profile_id: replace(
                view,
                contributions=contributions[profile_id],
                visible_groups={name: group_by_id[name] for name in contributions[profile_id] if name in group_by_id},
            )
            for profile_id, view in views.items()
        }


def _related_profiles(members: Members) -> set[str]:
    """Return the profiles whose memberships may have become this one's: by a merge, or by the split that it came from."""
    return {*members.nodes, members.split_from} - {""}


def decide(
    settings: Settings,
    plan: SegmentPlan,
    rule: HouseholdRules | None,
    *,
    topic_partition: TopicPartition,
    touches: Mapping[str, Touches],
    views: Mapping[str, ProfileView],
    now_ms: int,
) -> Outcome:
    """Decide the memberships of the touched profiles at `now_ms`. Pure.

    A touch that was applied to the document before makes the step send the document's latest transitions and the profile again,
    and decides nothing: every later change has a touch of its own, later in the partition.
    """
    documents: dict[tuple[str, str], GuardedDocument] = {}
    timers: dict[str, int | None] = {}
    produce: list[Outgoing] = []
    lateness_ms: list[int] = []
    approximate: list[str] = []
    results: Counter[str] = Counter()
    for profile_id, touched in touches.items():
        view = views[profile_id]
        before = decode_membership(view.document.data)
        applied = view.document.applied_offset(topic_partition)
        unpublished_transitions: tuple[Transition, ...] = ()
        unpublished_contributions: tuple[GroupRecord, ...] = ()
        if touched.first_offset <= applied:
            # Perhaps they were never sent: a crash after the save of this slice must not lose them.
            unpublished_transitions, unpublished_contributions = before.latest_transitions, before.latest_group_records
            produce += _change_records(settings, before, _stored_profile(before, view, profile_id, now_ms))
            results["replayed"] += 1
        if touched.last_offset <= applied or touched.superseded_by_event(view.guards):
            continue
        if touched.due_ms:
            lateness_ms.append(max(0, now_ms - touched.due_ms))
        if view.members.merged_into or not view.alive:
            after, profile, due = _dissolve(before, view, profile_id, now_ms)
        else:
            after, profile, evaluation = _evaluate(before, view, profile_id, touched, plan=plan, rule=rule, now_ms=now_ms)
            due = evaluation.next_ms
            approximate += evaluation.approximate
        timers[profile_id] = due
        if after is None:
            continue
        produce += _change_records(settings, after, profile if after.profile_hash != before.profile_hash else None)
        results += _count_changes(before, after, view)
        after.latest_transitions = (*unpublished_transitions, *after.latest_transitions)
        after.latest_group_records = (*unpublished_contributions, *after.latest_group_records)
        documents["membership", profile_id] = GuardedDocument(
            encode_membership(after), topic_partition.guard_name, touched.last_offset
        )
    return Outcome(
        writes=Writes(documents=documents, timers=timers),  # type: ignore[arg-type]  # the kind is a literal
        produce=tuple(produce),
        results=results,
        approximate=tuple(approximate),
        lateness_ms=tuple(lateness_ms),
    )


def _count_changes(before: Membership, after: Membership, view: ProfileView) -> Counter[str]:
    """Return what the evaluation of one profile adds to the result counts of its slice, for the metrics."""
    members = view.members
    return Counter(
        evaluated=1,
        transitions=len(after.latest_transitions),
        merges=int(bool(members.merged_into and not before.dissolved_into)),
        splits=int(bool(members.split_from and view.alive and before.label_version < members.version)),
        grouped=len(after.latest_group_records),
    )


def _stored_profile(before: Membership, view: ProfileView, profile_id: str, now_ms: int) -> Profile:
    """Return the profile with the segments of its stored document: what a replay emits."""
    members = view.members if view.alive else replace(view.members, nodes=())
    return _profile(profile_id, members, view.joined, _member_segments(before.segments), now_ms, before.computed)


def _member_segments(segments: Mapping[str, SegmentState]) -> list[str]:
    return [name for name, state in segments.items() if state.member]


def _change_records(settings: Settings, membership: Membership, profile: Profile | None) -> list[Outgoing]:
    """Return the records that publish the latest changes of a membership, and the profile unless it is None."""
    topic = settings.topic("memberships")
    records = [Outgoing(topic, encode(one), key=one.profile_id.encode()) for one in membership.latest_transitions]
    records += [contribution_record(settings, record) for record in membership.latest_group_records]
    if profile is not None:
        records.append(Outgoing(settings.topic("profiles"), encode(profile), key=profile.profile_id.encode()))
    return records


def _evaluate(
    before: Membership,
    view: ProfileView,
    profile_id: str,
    touched: Touches,
    *,
    plan: SegmentPlan,
    rule: HouseholdRules | None,
    now_ms: int,
) -> tuple[Membership | None, Profile, Evaluation]:
    """Evaluate a profile, and return its new document (None when nothing changed), the profile, and the evaluation."""
    joined = view.joined
    # Other members bring other facts, so nothing of the last evaluation can be carried over.
    is_relabelled = before.label_version != view.members.version or bool(before.dissolved_into)
    facts = view.facts(profile_id, rule)
    evaluation = evaluate_profile(plan, before, facts, None if is_relabelled else touched.changed, now_ms)
    contributed = changed_contributions(before.emitted_group_hashes, before.group_seq, view.contributions, profile_id, now_ms)
    turns = SegmentTurns(
        plan=plan,
        rule=rule,
        before=before,
        view=view,
        profile_id=profile_id,
        touched=touched,
        evaluation=evaluation,
        is_relabelled=is_relabelled,
        now_ms=now_ms,
    )
    segments, transitions = _transitions(turns)
    profile = _profile(profile_id, view.members, joined, _member_segments(segments), now_ms, evaluation.computed)
    after = Membership(
        segments=segments,
        latest_transitions=tuple(transitions),
        profile_hash=_hash(profile),
        label_version=view.members.version,
        previous_segments=_previous_segments(before, view.members),
        emitted_group_hashes=contributed.emitted_hashes,
        group_seq=contributed.seq,
        latest_group_records=contributed.records,
        computed=evaluation.computed,
        next_change_ms=evaluation.due,
        plan_fingerprint=plan.fingerprint,
        evaluated_ms=now_ms,
    )
    is_unchanged = not transitions and not contributed.records and not before.dissolved_into and _is_as_before(before, after)
    return None if is_unchanged and view.document.data is not None else after, profile, evaluation


def _transitions(turns: SegmentTurns) -> tuple[dict[str, SegmentState], list[Transition]]:
    """Return the state of all segments after the evaluation, and a transition for each one that turned."""
    segments, transitions = dict(turns.before.segments), []
    for turned in turns.all():
        seq = max(segments.get(turned.name, OUTSIDE).seq + 1, turns.now_ms)
        segments[turned.name] = SegmentState(member=turned.member, seq=seq, since_ms=turned.at_ms)
        transitions.append(
            Transition(
                profile_id=turns.profile_id,
                segment=turned.name,
                segment_version=turns.plan.versions.get(turned.name, ""),
                op="entered" if turned.member else "exited",
                seq=seq,
                at_ms=turned.at_ms,
                evaluated_ms=turns.now_ms,
                cause=turned.cause,
                event_id=turned.event_id,
                traits=turns.view.joined.traits,
                computed=turns.evaluation.computed,
                identifiers=turns.view.joined.identifiers,
            )
        )
    return segments, transitions


def _previous_segments(before: Membership, members: Members) -> tuple[str, ...]:
    """Return the segments that the profile was in before its member list last changed."""
    if before.label_version >= members.version:
        return before.previous_segments
    return tuple(sorted(before.active_segments()))


def _is_as_before(before: Membership, after: Membership) -> bool:
    stored_state = (before.profile_hash, before.next_change_ms, before.computed, before.plan_fingerprint)
    return stored_state == (after.profile_hash, after.next_change_ms, after.computed, after.plan_fingerprint)


def _dissolve(before: Membership, view: ProfileView, profile_id: str, now_ms: int) -> tuple[Membership | None, Profile, None]:
    """Take a profile out of all its segments, because it was merged into another one or its members were divided among several.

    Its document keeps the names of the segments, for the profiles that inherit them.
    """
    into = view.members.merged_into or DISSOLVED_INTO_MANY
    profile = _profile(profile_id, replace(view.members, nodes=()), join_fragments((), {}), (), now_ms)
    if view.document.data is None or (before.dissolved_into == into and not before.emitted_group_hashes):
        return None, profile, None
    transitions = [
        Transition(
            profile_id=profile_id,
            segment=name,
            segment_version="",
            op="exited",
            seq=max(state.seq + 1, now_ms),
            at_ms=now_ms,
            evaluated_ms=now_ms,
            cause="merge" if view.members.merged_into else "split",
            traits={},
        )
        for name, state in sorted(before.segments.items())
        if state.member
    ]
    withdrawn = changed_contributions(before.emitted_group_hashes, before.group_seq, {}, profile_id, now_ms)
    after = Membership(
        segments=before.segments | {t.segment: SegmentState(member=False, seq=t.seq, since_ms=now_ms) for t in transitions},
        latest_transitions=tuple(transitions),
        profile_hash=_hash(profile),
        label_version=view.members.version,
        dissolved_into=into,
        previous_segments=() if before.dissolved_into else tuple(sorted(before.active_segments())),
        group_seq=withdrawn.seq,
        latest_group_records=withdrawn.records,
    )
    return after, profile, None


def _profile(
    profile_id: str,
    members: Members,
    joined: JoinedProfile,
    segments: Iterable[str],
    now_ms: int,
    computed: Mapping[str, Any] | None = None,
) -> Profile:
    return Profile(
        profile_id=profile_id,
        members=members.nodes,
        label_version=members.version,
        merged_into=members.merged_into,
        split_from=members.split_from,
        identifiers=joined.identifiers,
        traits=joined.traits,
        counters=joined.counters,
        first_seen_ms=joined.first_seen_ms,
        last_seen_ms=joined.last_seen_ms,
        segments=tuple(sorted(segments)),
        computed=dict(computed or {}),
        dropped_names=dict(joined.dropped_names),
        updated_ms=now_ms,
    )


def _hash(profile: Profile) -> str:
    return short_hash(encode(msgspec.structs.replace(profile, updated_ms=0)).decode())
