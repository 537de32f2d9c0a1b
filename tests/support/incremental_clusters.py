"""The link agent's decision over a store in memory, without a pipeline, beside `resolve` over all that it was told."""

import random
from dataclasses import dataclass, field, replace
from typing import Final

from domain.identity.closure import Closure
from domain.identity.clusters import Evidence, members_of, resolve
from domain.identity.evidence import add_decision, add_edge, edge_of_link
from domain.identity.model import DecisionKind, Decisions, Edges, ordered_pair
from domain.identity.relabelling import decide, join_records
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec, NamespaceRules
from profile_store.identity_loader import ClusterLoader
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.clock import ManualClock
from schemas.identifiers import NAMESPACE_RANK
from schemas.instants import DAY_MS
from schemas.records import Link, LinkDecision, LinkRecord, LinkRule, ReclusterRequest
from tests.support.events import SECRET

PARTITION: Final = TopicPartition("links", 0, 1)
_NODES_OF: Final = {
    "user_id": 6, "crm_id": 2, "email": 5, "phone": 3, "device_id": 6, "anonymous_id": 5, "caller_number": 3,
}  # fmt: skip


def node_name(namespace: str, number: int) -> str:
    return f"{NAMESPACE_RANK[namespace]:x}{number:031x}"


NODES: Final = [node_name(namespace, number) for namespace, count in _NODES_OF.items() for number in range(count)]


def link(a: str, b: str, first_ms: int, last_ms: int | None = None, rule: LinkRule = "together", *, trusted: bool = True) -> Link:
    """Return evidence for a pair of nodes, given in any order."""
    low, high = sorted((a, b))
    return Link(
        a=low, b=high, first_ms=first_ms, first_event="f", last_ms=first_ms if last_ms is None else last_ms, last_event="l",
        source="s", owner=low, rule=rule, trusted=trusted,
    )  # fmt: skip


@dataclass
class LinkAgent:
    """What the link agent stores, record by record, and everything that it was told."""

    rules: CompiledIdentityRules = DEFAULT_RULES
    store: MemoryStore = field(default_factory=lambda: MemoryStore(ManualClock()))
    edges: Edges = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    position: int | None = None

    async def apply(self, *records: LinkRecord) -> Closure:
        """Apply a slice as the link step does; return the closure that it decided from."""
        for record in records:
            if isinstance(record, Link):
                add_edge(self.edges, (record.a, record.b), edge_of_link(record))
            elif isinstance(record, LinkDecision):
                add_decision(self.decisions, record)
        new = join_records(records)
        closure = await ClusterLoader(self.store, self.rules).load(new.nodes, new.edges, new.decisions)
        position = (self.position or 0) + 1
        change = decide(closure, new, version=position, now_ms=position)
        writes = Writes(labels=change.labels, members=change.members, edges=change.edges, decisions=change.decisions)
        await self.store.save(PARTITION, self.position, position, writes)
        self.position = position
        return closure

    def expected(self) -> dict[str, str]:
        """Return the labels that `resolve` gives over everything, from nothing."""
        nodes = {node for pair in self.edges for node in pair} | {node for _, *pair in self.decisions for node in pair}
        evidence = Evidence(self.edges, self.decisions, self.rules.blocked_among(nodes))
        return resolve(evidence, self.rules, nodes).labels

    async def check(self) -> None:
        """Check labels and member lists against `resolve` over everything; raises AssertionError."""
        expected = self.expected()
        labels = {node: label.profile_id for node, label in (await self.store.labels(sorted(expected))).items()}
        assert labels == expected
        members = await self.store.members(sorted(set(expected.values())))
        assert {name: entry.nodes for name, entry in members.items()} == members_of(expected)

    async def representatives(self) -> list[str]:
        """Return the nodes that a round over all clusters asks for."""
        nodes = [node async for node, _ in self.store.scan("edges")]
        labels = await self.store.labels(nodes)
        return [node for node in nodes if labels[node].profile_id == node]


def tight_rules(rng: random.Random, number: int) -> CompiledIdentityRules:
    """Return rules whose limits small worlds reach, and that differ from one another in every part."""
    spec = IdentityRulesSpec(
        namespaces={
            name: NamespaceRules(
                max_neighbours=rng.choice([None, 1, 2, 4, "unlimited"]), max_per_profile=rng.choice([None, 1, 1, 2, "unlimited"])
            )
            for name in NAMESPACE_RANK
            if rng.random() < 0.6
        },
        max_members=rng.choice([2, 4, 6, 1000, 1000]),
        prefer=rng.choice(["last", "last", "first"]),
        same_number=rng.random() < 0.7,
    )
    compiled = CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN", sequence_number=number)
    return replace(compiled, blocked=frozenset(rng.sample(NODES, rng.choice([0, 0, 2]))))


def random_record(rng: random.Random, told: list[LinkDecision], number: int) -> LinkRecord:
    """Return a link, or sometimes a decision or the reversal of one."""
    if rng.random() < 0.85:
        a, b = rng.sample(NODES, 2)
        day = rng.randrange(6)
        rule: LinkRule = "same_number" if {a[0], b[0]} == {"3", "6"} and int(a[1:], 16) == int(b[1:], 16) else "together"
        first = day * DAY_MS + rng.randrange(3)
        return link(a, b, first, first + rng.choice([0, 0, DAY_MS, 3 * DAY_MS]), rule, trusted=rng.random() < 0.5)
    if told and rng.random() < 0.5:
        undone = rng.choice(told)
        decision = LinkDecision(operation=f"op{number}", action="undo", pairs=undone.pairs, on=False, at_ms=number)
    else:
        pairs: set[tuple[DecisionKind, str, str]] = set()
        for _ in range(rng.randint(1, 3)):
            pairs.add((rng.choice(("cut", "apart")), *ordered_pair(*rng.sample(NODES, 2))))
        decision = LinkDecision(operation=f"op{number}", action="split", pairs=tuple(sorted(pairs)), on=True, at_ms=number)
    told.append(decision)
    return decision


async def run_random_history(seed: int, steps: int = 40) -> None:
    """Run a random history, and compare with `resolve` from nothing after every step but those within a round over all clusters."""
    rng = random.Random(seed)
    agent = LinkAgent(tight_rules(rng, 1) if rng.random() < 0.7 else DEFAULT_RULES)
    told: list[LinkDecision] = []
    waiting: list[str] = []
    for number in range(steps):
        await agent.apply(*(random_record(rng, told, 10 * number + n) for n in range(rng.choice([1, 1, 1, 3]))))
        if waiting:
            size = rng.randint(1, 6)
            chunk, waiting = waiting[:size], waiting[size:]
            await agent.apply(ReclusterRequest(nodes=tuple(chunk), rules_number=agent.rules.sequence_number))
        elif rng.random() < 0.08:
            agent.rules = tight_rules(rng, number + 2)
            waiting = await agent.representatives()
            rng.shuffle(waiting)
        if not waiting:
            await agent.check()
