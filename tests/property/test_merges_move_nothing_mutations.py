"""The random histories can fail: when any one rule is removed from the link agent, one of them soon shows it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from domain.identity import clusters, evidence, relabelling
from domain.identity.closure import Closure, Reach
from domain.identity.model import Decision, Edge, Label, Members
from domain.identity.relabelling import LabelChange, NewEvidence
from domain.identity.rules import CompiledIdentityRules
from domain.profiles import fragment
from profile_store import identity_loader, link_state
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from schemas.events import Event
from schemas.records import ReclusterRequest
from streams.outcome import Outcome
from streams.steps import link, unify
from tests.support.identity_histories import CROWDED_AT, check_outcome, random_history, run_history

SEEDS = 1500
LATE_WRITER = "a late writer is refused"
"""What a late writer does wrong is mostly mended by the round at the end of a history, so its mutation gets many late writers."""
Mutation = Callable[[pytest.MonkeyPatch], None]


def _node_reason_ignored(reason: str) -> Mutation:
    of_node = clusters.Liveness.dead_node

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(self: clusters.Liveness, node: str) -> clusters.DeadEdge | None:
            dead = of_node(self, node)
            return None if dead is not None and dead.reason == reason else dead

        patch.setattr(clusters.Liveness, clusters.Liveness.dead_node.__name__, mutant)

    return mutate


def _limit_ignored(reason: str) -> Mutation:
    refused = clusters._Clusters._find_refusal

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(self: Any, low: str, high: str) -> clusters.DeadEdge | None:
            dead = refused(self, low, high)
            return None if dead is not None and dead.reason == reason else dead

        patch.setattr(clusters._Clusters, clusters._Clusters._find_refusal.__name__, mutant)

    return mutate


def _cuts_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        clusters.Liveness, clusters.Liveness.dead_edge.__name__, lambda self, a, b: self.dead_node(a) or self.dead_node(b)
    )


def _same_number_never_off(patch: pytest.MonkeyPatch) -> None:
    dead_edge = clusters.Liveness.dead_edge

    def mutant(self: clusters.Liveness, a: str, b: str) -> clusters.DeadEdge | None:
        dead = dead_edge(self, a, b)
        return None if dead is not None and dead.reason == "rule_off" else dead

    patch.setattr(clusters.Liveness, clusters.Liveness.dead_edge.__name__, mutant)


def _same_number_not_last(patch: pytest.MonkeyPatch) -> None:
    key = clusters.preference_key

    def mutant(rules: CompiledIdentityRules) -> Callable[[Any], Any]:
        return lambda item: (key(rules)(item)[0], *key(rules)(item)[2:])

    patch.setattr(clusters, clusters.preference_key.__name__, mutant)


def _weaker_neighbours_counted(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: clusters._Degrees, a: str, b: str) -> None:
        for node in (a, b):
            self.all[node] = self.strong[node] = self.all.get(node, 0) + 1

    patch.setattr(clusters._Degrees, clusters._Degrees.add.__name__, mutant)


def _trust_makes_no_order(patch: pytest.MonkeyPatch) -> None:
    key = clusters.preference_key

    def mutant(rules: CompiledIdentityRules) -> Callable[[Any], Any]:
        return lambda item: key(rules)(item)[1:]

    patch.setattr(clusters, clusters.preference_key.__name__, mutant)


def _public_neighbours_counted(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: clusters.Liveness, pair: Any, before: Any) -> None:
        if before is None:
            self._degrees.add(*pair)

    patch.setattr(clusters.Liveness, clusters.Liveness.add_edge.__name__, mutant)


def _public_times_counted(patch: pytest.MonkeyPatch) -> None:
    join = Edge.join

    def mutant(self: Edge, other: Edge) -> Edge:
        joined = join(replace(self, trusted=True), replace(other, trusted=True))
        return replace(joined, trusted=self.trusted or other.trusted)

    patch.setattr(Edge, Edge.join.__name__, mutant)


def _order_by_pair(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clusters, clusters.preference_key.__name__, lambda _: lambda item: item[0])


def _largest_node_names_the_profile(patch: pytest.MonkeyPatch) -> None:
    resolve = Closure.resolve

    def mutant(self: Closure) -> clusters.Resolution:
        actual = resolve(self)
        heads = {name: nodes[-1] for name, nodes in clusters.members_of(actual.labels).items()}
        return replace(actual, labels={node: heads[name] for node, name in actual.labels.items()})

    patch.setattr(Closure, Closure.resolve.__name__, mutant)


def _evidence_overwritten(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Edge, other: Edge) -> Edge:  # noqa: ARG001 - a join that takes the first operand
        return self

    patch.setattr(Edge, Edge.join.__name__, mutant)


def _decision_overwritten(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Decision, other: Decision) -> Decision:  # noqa: ARG001 - a join that takes the first operand
        return self

    patch.setattr(Decision, Decision.join.__name__, mutant)


def _changed(alter: Callable[[Closure, LabelChange], LabelChange]) -> Mutation:
    decide = relabelling.decide

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(closure: Closure, *arguments: Any, **named: Any) -> LabelChange:
            return alter(closure, decide(closure, *arguments, **named))

        patch.setattr(link, relabelling.decide.__name__, mutant)

    return mutate


def _versions_do_not_grow(_: Closure, change: LabelChange) -> LabelChange:
    labels = {node: Label(label.profile_id, 1) for node, label in change.labels.items()}
    return replace(change, labels=labels, members={name: replace(entry, version=1) for name, entry in change.members.items()})


def _only_heads_dissolve(closure: Closure, change: LabelChange) -> LabelChange:
    heads = {label.profile_id for label in closure.labels.values()}
    return replace(change, members={name: entry for name, entry in change.members.items() if entry.nodes or name in heads})


def _nothing_dissolves(_: Closure, change: LabelChange) -> LabelChange:
    return replace(change, members={name: entry for name, entry in change.members.items() if entry.nodes})


def _comembers_ignored(patch: pytest.MonkeyPatch) -> None:
    add_profile = Closure.add_profile

    def mutant(self: Closure, profile_id: str, members: Members) -> None:
        known = tuple(node for node in members.nodes if node in self.labels)
        add_profile(self, profile_id, replace(members, nodes=known))

    patch.setattr(Closure, Closure.add_profile.__name__, mutant)


def _refused_edges_not_tried_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Closure, Closure.reach.__name__, lambda _: Reach())


def _profiles_around_never_enter(patch: pytest.MonkeyPatch) -> None:
    reach = Closure.reach
    patch.setattr(Closure, Closure.reach.__name__, lambda self: replace(reach(self), entering=frozenset()))


def _blocked_not_judged(patch: pytest.MonkeyPatch) -> None:
    async def mutant(*_: object) -> None:
        return None

    patch.setattr(identity_loader.ClusterLoader, identity_loader.ClusterLoader._find_blocked.__name__, mutant)


def _patterns_not_judged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity_loader, identity_loader._identifier_of.__name__, lambda *_: None)


def _outbox_ignored(patch: pytest.MonkeyPatch) -> None:
    state = link_state.link_state_of

    def mutant(*arguments: Any) -> link_state.LinkState:
        return msgspec.structs.replace(state(*arguments), unpublished_ids=())

    patch.setattr(link, link_state.link_state_of.__name__, mutant)


def _outbox_overwritten(patch: pytest.MonkeyPatch) -> None:
    run_step = link.LinkStep.run

    async def mutant(self: link.LinkStep, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        outcome = await run_step(self, topic_partition, records, now_ms)
        [(key, document)] = outcome.writes.documents.items()
        state = msgspec.json.decode(document.data or b"", type=link_state.LinkState)
        state.unpublished_ids = tuple(sorted(outcome.writes.members))
        documents = {key: replace(document, data=msgspec.json.encode(state))}
        return replace(outcome, writes=replace(outcome.writes, documents=documents))

    patch.setattr(link.LinkStep, link.LinkStep.run.__name__, mutant)


def _not_published(topic: str) -> Mutation:
    change_records = link.LinkStep._change_records

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def mutant(self: link.LinkStep, changed: Mapping[str, Members], now_ms: int) -> list[Outgoing]:
            return [record for record in change_records(self, changed, now_ms) if not record.topic.endswith(topic)]

        patch.setattr(link.LinkStep, link.LinkStep._change_records.__name__, mutant)

    return mutate


def _requests_ignored(patch: pytest.MonkeyPatch) -> None:
    sort = relabelling.join_records

    def mutant(records: Sequence[Any]) -> NewEvidence:
        return sort([record for record in records if not isinstance(record, ReclusterRequest)])

    patch.setattr(link, relabelling.join_records.__name__, mutant)


def _fence_removed(patch: pytest.MonkeyPatch) -> None:
    save = MemoryStore.save

    async def mutant(
        self: MemoryStore,
        topic_partition: TopicPartition,
        expected: int | None,  # noqa: ARG001 - the promise that is broken
        position: int,
        writes: Writes,
    ) -> Any:
        stored = (await self.checkpoint(topic_partition)).position
        return await save(self, topic_partition, stored, position, writes)

    patch.setattr(MemoryStore, MemoryStore.save.__name__, mutant)


def _links_not_published_again(patch: pytest.MonkeyPatch) -> None:
    decide = unify.decide

    def mutant(*arguments: Any, **named: Any) -> Any:
        topic_partition, documents = named["topic_partition"], named["documents"]
        fresh = [
            (record, item)
            for record, item in named["events"]
            if record.offset > documents[item.owner].applied_offset(topic_partition)
        ]
        writes, produce, *counts = decide(*arguments, **named)
        links = [o for o in decide(*arguments, **{**named, "events": fresh})[1] if o.topic.endswith("links")]
        return writes, [o for o in produce if not o.topic.endswith("links")] + links, *counts

    patch.setattr(unify, unify.decide.__name__, mutant)


def _pairs_published_once(patch: pytest.MonkeyPatch) -> None:
    def mutant(state: fragment.Fragment, pairs: Iterable[tuple[str, str]], item: Event) -> tuple[tuple[str, str], ...]:
        new = tuple((a, b) for a, b in pairs if f"{a}{b}" not in state.links)
        state.links.update({f"{a}{b}": fragment.LinkTimes(item.time_ms, item.time_ms) for a, b in new})
        return new

    patch.setattr(fragment, fragment._observe_links.__name__, mutant)


MUTATIONS: dict[str, Mutation] = {
    "blocked values": _node_reason_ignored("blocked"),
    "generic values": _node_reason_ignored("generic"),
    "crowded nodes": _node_reason_ignored("crowded"),
    "cuts": _cuts_ignored,
    "values of a namespace": _limit_ignored("unique"),
    "size": _limit_ignored("size"),
    "apart": _limit_ignored("apart"),
    "only stronger or equal neighbours count": _weaker_neighbours_counted,
    "newest first": _order_by_pair,
    "trusted evidence first": _trust_makes_no_order,
    "public neighbours make no trusted value generic": _public_neighbours_counted,
    "public events do not date trusted evidence": _public_times_counted,
    "the smallest node names the profile": _largest_node_names_the_profile,
    "an alias is evidence": lambda patch: patch.setattr(evidence, evidence._alias_pairs.__name__, lambda *_: []),
    "the same number is evidence": lambda patch: patch.setattr(evidence, evidence._same_number_pairs.__name__, lambda *_: []),
    "the same number can be switched off": _same_number_never_off,
    "the same number comes last": _same_number_not_last,
    "evidence joins": _evidence_overwritten,
    "the latest decision wins": _decision_overwritten,
    "versions grow": _changed(_versions_do_not_grow),
    "every id that moved says where": _changed(_only_heads_dissolve),
    "dissolved profiles are written": _changed(_nothing_dissolves),
    "evidence is stored": _changed(lambda _, change: replace(change, edges={})),
    "decisions are stored": _changed(lambda _, change: replace(change, decisions={})),
    "labels are stored": _changed(lambda _, change: replace(change, labels={})),
    "those who were together are looked at": _comembers_ignored,
    "refused edges are tried again": _refused_edges_not_tried_again,
    "profiles around take part": _profiles_around_never_enter,
    "rules that block are asked": _blocked_not_judged,
    "values are looked up for patterns": _patterns_not_judged,
    "what was not said is remembered": _outbox_ignored,
    "and over a second crash": _outbox_overwritten,
    "identities are said": _not_published("identities"),
    "profiles are touched": _not_published("touched"),
    "changed rules reach every cluster": _requests_ignored,
    LATE_WRITER: _fence_removed,
    "a replay says its links again": _links_not_published_again,
    "a pair is said again when its evidence grows": _pairs_published_once,
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_each_mutation_is_detected_by_a_history(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_NEIGHBOURS", CROWDED_AT)
    MUTATIONS[name](monkeypatch)
    for seed in range(SEEDS):
        history = random_history(seed)
        try:
            await check_outcome(history, await run_history(history, zombie_rate=0.6 if name == LATE_WRITER else 0.1))
        except (AssertionError, KeyError):
            return
    pytest.fail(f"{SEEDS} histories hold without the rule: {name}")
