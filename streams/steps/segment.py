"""Segment: join a touched profile, evaluate its segments now, say what changed, set one timer for the next change."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from domain.identity import groups
from domain.profiles import membership as memberships, fragment as model
from domain.profiles.membership import Membership, SegmentState
from domain.profiles.fragment import Joined
from profile_store.port import Document, Members, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.hashes import short_hash
from schemas.records import Cause, Grouped, Profile, Touched, Transition
from domain.segments.comparisons import NEVER
from domain.segments.profile_facts import Facts
from domain.identity.rules import DEFAULT_RULES, HouseholdRules, Rules
from domain.segments.plan import Plan
from streams.outcome import Outcome
from streams.steps.common import ALL, contribution, decode_slice, must_wait, touch
from streams.steps.touches import Touches, coalesce, forward
from domain.segments.evaluation import Standing, stand


@dataclass(frozen=True, slots=True)
class View:
    """What is stored about one profile. `earlier` are the membership documents of its other members, `parent` is that of the
    profile it was split from; both are given when the member list is new. It is `alive` when one of its members has events.
    `contributes` is what it contributes to its groups, `held` are the documents of those that segments look at. `guards` are
    those of its fragments, with their offsets."""

    document: Document
    members: Members
    joined: Joined
    earlier: tuple[Membership, ...]
    parent: Membership | None = None
    alive: bool = True
    contributes: Mapping[str, Grouped] = field(default_factory=dict)
    held: Mapping[str, groups.Group] = field(default_factory=dict)
    guards: tuple[tuple[str, int], ...] = ()


class SegmentStep:
    """Reads `touched`."""

    name = "segment"
    topic = "touched"

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        plan: Callable[[], Plan],
        rules: Callable[[], Rules] = lambda: DEFAULT_RULES,
        known: Callable[[], int] = lambda: ALL,
    ) -> None:
        """`known` is the offset of the definitions before which all are in `plan`."""
        self._settings, self._store, self._plan, self._rules, self._known = settings, store, plan, rules, known
        self._secret = settings.tenant_secret.get_secret_value().encode()

    async def run(self, place: Place, records: Sequence[Record], now_ms: int) -> Outcome:
        """Four round trips a slice: documents and labels, members, fragments, documents of members new to a profile.

        One more for the documents of groups, if segments look at groups and one of the profiles is in any.
        """
        decoded, bad = decode_slice(Touched, records, self.name, self._settings, now_ms)
        touches = coalesce(decoded)
        nodes = sorted({node for t in touches.values() for node in t.nodes})
        standing, documents, labels = await self._store.load(place, "membership", list(touches), nodes)
        if must_wait(standing, self._known()):
            return Outcome(held=True)
        plan, rule = self._plan(), self._rules().household
        views = await self._grouped(await self._views(documents, plan), plan, rule)
        outcome = decide(self._settings, plan, rule, place, touches, views, now_ms)
        forwards = [touch(self._settings, record) for record in forward(touches, labels, now_ms)]
        outcome.results["quarantined"] += len(bad)
        return replace(outcome, expected=standing.position, fence=standing.fence, produce=(*outcome.produce, *forwards, *bad))

    async def _views(self, documents: Mapping[str, Document], plan: Plan) -> dict[str, View]:
        members = await self._store.members(list(documents))
        nodes = sorted({node for entry in members.values() for node in entry.nodes})
        fragments = await self._store.documents("fragment", nodes)
        fresh = {
            profile_id
            for profile_id, entry in members.items()
            if memberships.decode(documents[profile_id].data).label_version < entry.version
        }
        newcomers = sorted({node for name in fresh for node in _relatives(members[name])} - documents.keys())
        others = {**documents, **(await self._store.documents("membership", newcomers) if newcomers else {})}
        held = {node: memberships.decode(document.data) for node, document in others.items()}
        return {
            profile_id: View(
                document=documents[profile_id],
                members=entry,
                joined=model.join((model.decode(fragments[node].data) for node in entry.nodes), plan.registers, entry.nodes),
                earlier=tuple(held[node] for node in entry.nodes if node != profile_id and node in held),
                parent=held.get(entry.split_from) if profile_id in fresh else None,
                alive=any(fragments[node].data is not None for node in entry.nodes),
                guards=tuple((fragments[node].guard, fragments[node].offset) for node in entry.nodes),
            )
            for profile_id, entry in members.items()
        }

    async def _grouped(self, views: Mapping[str, View], plan: Plan, rule: HouseholdRules | None) -> dict[str, View]:
        """The views with what there is to know of groups."""
        if rule is None and not any(view.joined.accounts for view in views.values()):
            return dict(views)
        contributes = {
            profile_id: groups.contributions(view.joined, profile_id, plan, rule, self._secret) if view.alive else {}
            for profile_id, view in views.items()
        }
        wanted = sorted({name for said in contributes.values() for name in groups.seen_by(plan, said)})
        found = await self._store.documents("group", wanted) if wanted else {}
        held = {name: groups.glance(name, document.data) for name, document in found.items()}
        return {
            profile_id: replace(
                view,
                contributes=contributes[profile_id],
                held={name: held[name] for name in contributes[profile_id] if name in held},
            )
            for profile_id, view in views.items()
        }


def _relatives(members: Members) -> set[str]:
    """The profiles whose memberships may have become this one's."""
    return {*members.nodes, members.split_from} - {""}


def decide(
    settings: Settings,
    plan: Plan,
    rule: HouseholdRules | None,
    place: Place,
    touches: Mapping[str, Touches],
    views: Mapping[str, View],
    now_ms: int,
) -> Outcome:
    """Pure. A touch that the document has already seen says its last transitions and profile again, and decides nothing:
    whatever changed since then has a touch of its own behind it."""
    documents: dict[tuple[str, str], Document] = {}
    timers: dict[str, int | None] = {}
    produce: list[Outgoing] = []
    lateness_ms: list[int] = []
    results: Counter[str] = Counter()
    for profile_id, touched in touches.items():
        view = views[profile_id]
        before = memberships.decode(view.document.data)
        applied = view.document.applied(place)
        unsaid: tuple[Transition, ...] = ()
        ungrouped: tuple[Grouped, ...] = ()
        if touched.first_offset <= applied:
            # Perhaps unsaid: a crash after this slice's save must not forget them.
            unsaid, ungrouped = before.last, before.grouped
            produce += _say(settings, unsaid, ungrouped, _as_known(before, view, profile_id, now_ms))
            results["replayed"] += 1
        if touched.last_offset <= applied:
            continue
        if touched.left_to_its_event(view.guards):
            continue
        if touched.due_ms:
            lateness_ms.append(max(0, now_ms - touched.due_ms))
        if view.members.merged_into or not view.alive:
            after, profile, due = _dissolve(before, view, profile_id, now_ms)
        else:
            after, profile, standing = _evaluate(before, view, profile_id, touched, plan, rule, now_ms)
            due = standing.next_ms
            results.update(f"approximate:{name}" for name in standing.approximate)
        timers[profile_id] = due
        if after is None:
            continue
        produce += _say(settings, after.last, after.grouped, profile if after.profile_hash != before.profile_hash else None)
        results["evaluated"] += 1
        results["transitions"] += len(after.last)
        results["merges"] += bool(view.members.merged_into and not before.dissolved_into)
        results["splits"] += bool(view.members.split_from and view.alive and before.label_version < view.members.version)
        results["grouped"] += len(after.grouped)
        after.last, after.grouped = (*unsaid, *after.last), (*ungrouped, *after.grouped)
        documents["membership", profile_id] = Document(memberships.encode(after), place.name, touched.last_offset)
    writes = Writes(documents=documents, timers=timers)  # type: ignore[arg-type]  # the kind is a literal
    return Outcome(writes=writes, produce=tuple(produce), results=results, lateness_ms=tuple(lateness_ms))


def _as_known(before: Membership, view: View, profile_id: str, now_ms: int) -> Profile:
    """The profile with the segments of its document: what a replay says."""
    members = view.members if view.alive else replace(view.members, nodes=())
    return _profile(profile_id, members, view.joined, _inside(before.segments), now_ms, before.computed)


def _inside(segments: Mapping[str, SegmentState]) -> list[str]:
    return [name for name, state in segments.items() if state.member]


def _say(
    settings: Settings, transitions: Iterable[Transition], grouped: Iterable[Grouped], profile: Profile | None
) -> list[Outgoing]:
    said = [Outgoing(settings.topic("memberships"), encode(t), key=t.profile_id.encode()) for t in transitions]
    said += [contribution(settings, record) for record in grouped]
    if profile is not None:
        said.append(Outgoing(settings.topic("profiles"), encode(profile), key=profile.profile_id.encode()))
    return said


def _evaluate(
    before: Membership,
    view: View,
    profile_id: str,
    touched: Touches,
    plan: Plan,
    rule: HouseholdRules | None,
    now_ms: int,
) -> tuple[Membership | None, Profile, Standing]:
    """The document after an evaluation (None when nothing changed), the profile, and what was found."""
    joined = view.joined
    moved = before.label_version != view.members.version or bool(before.dissolved_into)
    facts = groups.facts(joined, view.contributes, view.held, rule, profile_id, view.members.nodes)
    standing = stand(plan, before, facts, None if moved else touched.changed, now_ms)
    said = groups.say(before.groups, before.group_seq, view.contributes, profile_id, now_ms)
    segments, transitions = dict(before.segments), []
    turned = list(_turned(before, view, standing, touched.cause))
    due = before.due
    if turned and touched.since_ms:
        due = _by_time_since(plan, facts, touched.since_ms, turned)
        turned = [(name, member, "timer" if name in due and cause == touched.cause else cause) for name, member, cause in turned]
    for name, member, cause in turned:
        state = segments.get(name, _OUTSIDE)
        at_ms = due.get(name, touched.due_ms or now_ms) if cause == "timer" else now_ms
        seq = max(state.seq + 1, now_ms)
        segments[name] = SegmentState(member=member, seq=seq, since_ms=at_ms)
        transitions.append(
            Transition(
                profile_id=profile_id,
                segment=name,
                segment_version=plan.versions.get(name, ""),
                op="entered" if member else "exited",
                seq=seq,
                at_ms=at_ms,
                evaluated_ms=now_ms,
                cause=cause,
                event_id=touched.event_id if cause == "event" else "",
                traits=joined.traits,
                computed=standing.computed,
            )
        )
    profile = _profile(profile_id, view.members, joined, _inside(segments), now_ms, standing.computed)
    after = Membership(
        segments=segments,
        last=tuple(transitions),
        profile_hash=_hash(profile),
        label_version=view.members.version,
        formerly=before.formerly if before.label_version >= view.members.version else tuple(sorted(before.held())),
        groups=said.groups,
        group_seq=said.seq,
        grouped=said.records,
        computed=standing.computed,
        due=standing.due,
        plan=plan.fingerprint,
    )
    same = not transitions and not said.records and not before.dissolved_into and _as_before(before, after)
    return None if same and view.document.data is not None else after, profile, standing


def _by_time_since(plan: Plan, facts: Facts, since_ms: int, turned: Iterable[tuple[str, bool, Cause]]) -> dict[str, int]:
    """Of segments that have turned since the definitions changed, with no event since: when time alone turned them."""
    then = plan.at(facts, since_ms)[1]
    found = {name: then[name].next_change_ms for name, member, _ in turned if name in then and then[name].member is not member}
    return {name: at_ms for name, at_ms in found.items() if at_ms < NEVER}


_OUTSIDE = SegmentState(member=False, seq=0, since_ms=0)


def _as_before(before: Membership, after: Membership) -> bool:
    held = (before.profile_hash, before.due, before.computed, before.plan)
    return held == (after.profile_hash, after.due, after.computed, after.plan)


def _turned(before: Membership, view: View, standing: Standing, cause: Cause) -> Iterator[tuple[str, bool, Cause]]:
    """The segments that the profile enters or leaves, and why."""
    merged = set(before.formerly if before.dissolved_into else ()).union(
        *(document.held_since(before.label_version) for document in view.earlier)
    )
    split = view.parent.held_before(view.members.version) if view.parent is not None else set()
    undefined = before.segments.keys() - standing.members.keys() if standing.complete else set()
    for name in sorted(standing.members.keys() | undefined):
        member = standing.members.get(name, False)
        if member == before.segments.get(name, _OUTSIDE).member:
            continue
        if name in undefined:
            yield name, member, "definition"
        elif member and name in split | merged:
            yield name, member, "split" if name in split else "merge"
        elif cause == "event" and name in standing.by_time:
            yield name, member, "timer"
        else:
            yield name, member, cause


def _dissolve(before: Membership, view: View, profile_id: str, now_ms: int) -> tuple[Membership | None, Profile, None]:
    """The profile went into another one, or its parts went to several: it leaves its segments, and remembers which they were."""
    into = view.members.merged_into or memberships.VACANT
    profile = _profile(profile_id, replace(view.members, nodes=()), model.join((), {}), (), now_ms)
    if view.document.data is None or (before.dissolved_into == into and not before.groups):
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
    left = groups.say(before.groups, before.group_seq, {}, profile_id, now_ms)
    after = Membership(
        segments=before.segments | {t.segment: SegmentState(member=False, seq=t.seq, since_ms=now_ms) for t in transitions},
        last=tuple(transitions),
        profile_hash=_hash(profile),
        label_version=view.members.version,
        dissolved_into=into,
        formerly=() if before.dissolved_into else tuple(sorted(before.held())),
        group_seq=left.seq,
        grouped=left.records,
    )
    return after, profile, None


def _profile(
    profile_id: str,
    members: Members,
    joined: model.Joined,
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
        updated_ms=now_ms,
    )


def _hash(profile: Profile) -> str:
    return short_hash(encode(msgspec.structs.replace(profile, updated_ms=0)).decode())
