"""The identity service, which the command and the API share: it answers questions about identity and publishes decisions."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from domain.identity.explanation import EdgeRefusal, EvidenceStep, PairExplanation, ReplayedEdge
from domain.identity.model import ordered_pair
from domain.identity.rules import CompiledIdentityRules
from ops.identity import decisions
from ops.identity.audit import IdentityHistory, IdentityOperation
from ops.identity.clusters import ResolvedClusters, load_clusters, load_clusters_between
from ops.identity.references import NodeReference, parse_reference, read_identifiers
from ops.identity.to_json import how_to_json, operation_to_json, why_to_json
from profile_store.agent_waiter import AgentBehind, AgentWaiter, RequiredPositions
from profile_store.link_state import LINKS_PARTITION
from profile_store.port import ProfileStore
from runtime.bus.port import Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Invalid, Transient
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import DecisionAction

log: Final = get_logger(__name__)

POLL_S: Final = 0.05
RECENT_MS: Final = 60_000
"""An operation that is younger than this may not be in ClickHouse yet."""


@dataclass(frozen=True, slots=True)
class IdentityService:
    """Answers why and how profiles came about, and publishes cuts, splits and undos.

    `rules` returns the live identity rules. Until they have been read (`rules_known` returns false) it returns the default
    ones: answers say so, and nothing is decided. `timeout_s` bounds the wait for the link agent after a decision, and the
    search for a fresh operation.
    """

    settings: Settings
    store: ProfileStore
    clock: Clock
    rules: Callable[[], CompiledIdentityRules]
    history: IdentityHistory
    producer: Callable[[], Awaitable[Producer]]
    timeout_s: float = 20.0
    rules_known: Callable[[], bool] = lambda: True

    async def why(self, a: str, b: str) -> dict[str, Any]:
        """Explain why two identifiers are one profile, or why not.

        Raises Invalid for a malformed reference, Transient when Redis does not answer.
        """
        first, second = self._parse(a, "a"), self._parse(b, "b")
        clusters, why = await load_clusters_between(self.store, self.rules(), first.node, second.node)
        return await self._answer(clusters, why, first, second)

    async def _answer(
        self, clusters: ResolvedClusters, why: PairExplanation, first: NodeReference, second: NodeReference
    ) -> dict[str, Any]:
        steps = [*why.steps, *([why.direct_step] if why.direct_step is not None else [])]
        ends = (first.node, second.node)
        identifiers = await read_identifiers(self.store, clusters.evidence, {*ends} | _nodes(steps))
        seen_nodes = {node for node in ends if clusters.has_evidence(node) or node in identifiers}
        audit = await self.history.load_audit(clusters.evidence, [_pair_of(step) for step in steps], _operations(steps))
        answer = why_to_json(
            clusters=clusters,
            why=why,
            ends=ends,
            seen_nodes=seen_nodes,
            identifiers={**identifiers, **first.identifiers, **second.identifiers},
            audit=audit,
        )
        return {**answer, "rules_known": self.rules_known()}

    def _parse(self, text: str, path: str) -> NodeReference:
        return parse_reference(text, self.settings, path, self.rules().namespaces)

    async def how(self, profile: str) -> dict[str, Any]:
        """Explain how a profile came about.

        Raises Invalid for a malformed or unknown reference, Transient when Redis does not answer.
        """
        reference = self._parse(profile, "profile")
        clusters = await self._load_clusters(reference)
        profile_id, nodes = clusters.resolution.labels[reference.node], clusters.members(reference.node)
        turns: Sequence[ReplayedEdge] = clusters.explainer.replay(nodes)
        steps = [turn.step for turn in turns]
        identifiers = await read_identifiers(self.store, clusters.evidence, nodes | _nodes(steps))
        audit = await self.history.load_audit(clusters.evidence, [_pair_of(step) for step in steps], _operations(steps))
        return {
            **how_to_json(
                profile_id=profile_id,
                clusters=clusters,
                turns=turns,
                identifiers={**identifiers, **reference.identifiers},
                audit=audit,
            ),
            "rules_known": self.rules_known(),
        }

    async def cut(self, a: str, b: str, *, by: str, reason: str) -> dict[str, Any]:
        """Cut the direct evidence between two identifiers; return the operation and the profiles after it.

        The answer also says whether the two are still together by other evidence. Raises Invalid when there is no evidence
        between them, Transient when Redis or the broker does not answer.
        """
        attribution = decisions.check_attribution(by, reason)
        first, second = self._parse(a, "a"), self._parse(b, "b")
        clusters = await load_clusters(self.store, self.rules(), [first.node, second.node])
        for path, reference in (("a", first), ("b", second)):
            await self._require_seen(clusters, reference, path)
        pairs = decisions.decide_cut(clusters, first.node, second.node)
        answer = await self._decide(
            action="cut", pairs=pairs, clusters=clusters, attribution=attribution, nodes={first.node, second.node}
        )
        # The decision is in the log: the answer must name it, even if a store fails now.
        with suppress(Transient):
            after, why = await load_clusters_between(self.store, self.rules(), first.node, second.node)
            answer["why"] = await self._answer(after, why, first, second)
        return answer

    async def split(
        self, profile: str, *, keep: Collection[str] = (), move: Collection[str] = (), by: str, reason: str
    ) -> dict[str, Any]:
        """Split a profile in two, by naming either the identifiers that stay or those that move.

        The answer names as `mixed` the profiles that still have identifiers of both parts, joined by evidence outside of
        the profile. Raises Invalid for a part that is empty or not of the profile, Transient when Redis or the broker
        does not answer.
        """
        attribution = decisions.check_attribution(by, reason)
        if bool(keep) == bool(move):
            raise Invalid("name either the identifiers that stay (keep) or those that move", path="identifiers", reason="malformed")
        reference = self._parse(profile, "profile")
        named_nodes = {self._parse(text, "identifiers").node for text in keep or move}
        clusters = await self._load_clusters(reference)
        members = clusters.members(reference.node)
        if not named_nodes <= members:
            raise Invalid(
                "an identifier is not in the profile: see `onefold identity how`", path="identifiers", reason="not_a_member"
            )
        moving = named_nodes if move else members - named_nodes
        answer = await self._decide(
            action="split",
            pairs=decisions.decide_split(clusters, members, moving),
            clusters=clusters,
            attribution=attribution,
            nodes=members,
        )
        return {
            **answer,
            "mixed": [entry["profile_id"] for entry in answer["profiles"] if _is_mixed(entry, members - moving, moving)],
        }

    async def undo(self, operation: str, *, by: str, reason: str) -> dict[str, Any]:
        """Undo an operation, for the pairs that no later operation has decided. An undo can be undone.

        Raises Invalid for an unknown operation or when no pair is left to undo, Transient when ClickHouse, Redis or the
        broker does not answer.
        """
        attribution = decisions.check_attribution(by, reason)
        undone = await self._wait_for_operation(operation)
        nodes = {node for _, a, b in undone.pairs for node in (a, b)}
        clusters = await load_clusters(self.store, self.rules(), nodes)
        pairs = decisions.decide_undo(undone, clusters.evidence.decisions)
        return await self._decide(
            action="undo", pairs=pairs, clusters=clusters, attribution=attribution, nodes=nodes, on=not undone.on, of=undone.name
        )

    async def _load_clusters(self, reference: NodeReference) -> ResolvedClusters:
        clusters = await load_clusters(self.store, self.rules(), [reference.node])
        await self._require_seen(clusters, reference, "profile")
        return clusters

    async def _require_seen(self, clusters: ResolvedClusters, reference: NodeReference, path: str) -> None:
        if (
            not clusters.has_evidence(reference.node)
            and (await self.store.documents("fragment", [reference.node]))[reference.node].data is None
        ):
            raise Invalid(f"{path}: no event has named this identifier", path=path, reason="unknown_identifier")

    async def _wait_for_operation(self, name: str) -> IdentityOperation:
        """Read an operation from the audit, and wait for one that was made a moment ago until ClickHouse has it."""
        at_ms = decisions.operation_time_ms(name)
        if at_ms is None:
            raise Invalid("no operation has such a name: see `onefold identity operations`", path="operation", reason="malformed")
        remaining_polls = int(self.timeout_s / POLL_S) if self.clock.now_ms() - at_ms < RECENT_MS else 0
        while (operation := await self.history.operation(name)) is None and remaining_polls > 0:
            remaining_polls -= 1
            await asyncio.sleep(POLL_S)
        if operation is None:
            raise Invalid("no such operation: see `onefold identity operations`", path="operation", reason="unknown_operation")
        return operation

    async def _decide(
        self,
        action: DecisionAction,
        pairs: Sequence[decisions.DecisionKey],
        clusters: ResolvedClusters,
        attribution: decisions.Attribution,
        nodes: Collection[str],
        *,
        on: bool = True,
        of: str = "",
    ) -> dict[str, Any]:
        """Publish a decision, wait until the link agent has applied it, and read the profiles of the nodes.

        An error after the record was published is not raised: the answer then has `applied` false.
        """
        if not self.rules_known():
            raise Transient("this process has not read the identity rules yet: try again")
        noise = secrets.randbits(decisions.NOISE_BITS)
        stored_decisions = clusters.evidence.decisions
        record = decisions.build_record(
            action, pairs, stored_decisions, attribution, now_ms=self.clock.now_ms(), noise=noise, on=on, of=of
        )
        waiter = AgentWaiter(
            store=self.store,
            topic=LINKS_PARTITION.topic,
            partition_count=LINKS_PARTITION.partition_count,
            timeout_s=self.timeout_s,
            poll_s=POLL_S,
        )
        required = await waiter.publish(await self.producer(), [Outgoing(self.settings.topic("links"), encode(record))])
        # From here on the decision is in the log and will be applied, so the answer names it even if a store does not answer.
        try:
            applied = await self._wait_until_applied(waiter, required, record.operation)
            labels = await self.store.labels(sorted(nodes))
            profiles = await self.store.members(sorted({label.profile_id for label in labels.values()}))
            all_nodes = {node for entry in profiles.values() for node in entry.nodes} | {node for key in pairs for node in key[1:]}
            return operation_to_json(
                record, profiles, await read_identifiers(self.store, clusters.evidence, all_nodes), applied=applied
            )
        except Transient as error:
            log.warning("decided_profiles_not_read", operation=record.operation, error=str(error))
            return operation_to_json(record, {}, {}, applied=False)

    async def _wait_until_applied(self, waiter: AgentWaiter, required: RequiredPositions, operation: str) -> bool:
        """Return whether the link agent has applied an operation within `timeout_s`."""
        try:
            return await waiter.wait_until_passed(required)
        except AgentBehind as error:
            log.warning("decision_not_applied_in_time", operation=operation, error=str(error))
            return False


def _is_mixed(profile: dict[str, Any], staying: Collection[str], moving: Collection[str]) -> bool:
    """Return whether a profile of an answer has identifiers of both parts."""
    nodes = {identifier["node"] for identifier in profile["identifiers"]}
    return not nodes.isdisjoint(staying) and not nodes.isdisjoint(moving)


def _pair_of(step: EvidenceStep) -> tuple[str, str]:
    return ordered_pair(step.start, step.end)


def _refusals(steps: Sequence[EvidenceStep]) -> list[EdgeRefusal]:
    return [step.refusal for step in steps if step.refusal is not None]


def _nodes(steps: Sequence[EvidenceStep]) -> set[str]:
    """Return every node that the steps and their refusals mention."""
    nodes = {node for step in steps for node in (step.start, step.end)}
    for refusal in _refusals(steps):
        nodes |= {node for side in refusal.end_values for node in side} | {node for link in refusal.earlier_links for node in link}
        nodes |= set(refusal.pair or ())
    return nodes


def _operations(steps: Sequence[EvidenceStep]) -> list[str]:
    return list(dict.fromkeys(r.decision.operation for r in _refusals(steps) if r.decision is not None))
