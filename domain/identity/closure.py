"""The part of the evidence that decides about some nodes: their closure. Pure; `profile_store.identity_loader` reads it.

**Why.** Live evidence connects more than one customer: a device that two customers use, an e-mail that three gave. A limit refuses
one of its edges, and yet the edge is live, so that all customers of a town may hang together. The link agent must not read all of
them for each new link. It resolves the *nodes* of the closure, whole profiles each, and takes the profiles around them as the store
has them, as long as nothing that changed can change these.

**Invariant.** `resolve` over the nodes of a finished closure gives each of them the label that `resolve` over all evidence gives,
and no other node gets another label than it has. It rests on two facts about the replay of `clusters.resolve`:

1. Limits only ever fill up. An edge that was refused stays refused when either of its clusters is larger, and its two ends never
   come together by another way. So the edges that are refused are those between two final clusters, and what has joined within a
   cluster before any edge's turn follows from the edges within that cluster alone.
2. So a partition is the outcome of the replay exactly when each of its clusters results from its own edges, and each live edge
   between two clusters is refused by what had joined on both sides before its turn. Both are local: if a cluster changes, only
   the edges between it and others have to be tried again.

`reach` tries them: it replays the edges of the nodes, and of the profiles around as far as they are known. What is unknown of a
profile can only make its side larger, so an edge that is refused without it is refused. Where an edge joins, its other end is read,
then the whole profile of this end; if the edge still joins, that profile takes part in the change and enters the closure.

**Example.** The tablet t was used by user u1 on day 1 and by u2 on day 2: it belongs to u2. A slice brings a cookie of u1. The
closure starts with the profile of u1, and the cookie. The edge (u1, t) is tried: t alone would join, so t is read, and with it that
(u2, t) is newer and within the profile of u2. Now both sides have a user id before the edge's turn, the edge is refused, and
neither u2 nor its other devices are read. If the slice cuts (u2, t) instead, the profile of u2 is resolved without t, the edge (u1,
t) joins, and the profile of u1 enters.

While new rules come into force (`streams.reclustering`) the profiles around may still be as the old rules made them. Each of them
is resolved in its turn, with the edges to those that were resolved before, so that the second fact holds at the end of the round.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from domain.identity.clusters import Evidence, Liveness, Resolution, resolve
from domain.identity.evidence import add_edge
from domain.identity.model import Decision, DecisionKind, Decisions, Edge, Edges, Label, Members, Neighbours, Pair, ordered_pair
from domain.identity.rules import CompiledIdentityRules


@dataclass(frozen=True, slots=True)
class Reach:
    """What a closure lacks.

    Attributes:
        unread: nodes outside of the closure that must be read, so that an edge to them can be tried.
        entering: nodes whose profiles take part in the change.
    """

    unread: frozenset[str] = frozenset()
    entering: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.unread or self.entering)


@dataclass(slots=True)
class Closure:
    """What the link agent knows when it decides about the nodes of a slice. Make one with `start`, and extend it by `reach`.

    Attributes:
        rules: the rules by which it is resolved.
        evidence: the stored evidence of the nodes that were read, with the new evidence of the slice joined into it.
        liveness: which edges of `evidence` are dead by themselves.
        nodes: the nodes of the closure, whole profiles; each of them is resolved.
        stored_edges: the edges as the store has them, so that only edges that changed are written.
        stored_decisions: the decisions as the store has them.
        labels: the stored label of each node of the closure, and of the members of the profiles around that are known.
        members: the stored member lists of the same profiles.
        read_nodes: the nodes whose edges and decisions were read.
        blocked: the nodes that the rules block. `evidence` sees this very set.
        crowded: the nodes whose edges were not read because there are too many. `evidence` sees this very set.
        crowded_by_public: the nodes of which only the public edges were not read. `evidence` sees this very set.
    """

    rules: CompiledIdentityRules
    evidence: Evidence
    liveness: Liveness
    blocked: set[str]
    crowded: set[str]
    crowded_by_public: set[str]
    nodes: set[str] = field(default_factory=set)
    stored_edges: Edges = field(default_factory=dict)
    stored_decisions: Decisions = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)
    read_nodes: set[str] = field(default_factory=set)
    _neighbours: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def start(cls, edges: Edges, decisions: Decisions, rules: CompiledIdentityRules) -> Self:
        """Return a closure that knows the new evidence of a slice and nothing of what is stored."""
        blocked: set[str] = set()
        crowded: set[str] = set()
        crowded_by_public: set[str] = set()
        # Copies, because stored edges are joined into them: the slice's own mappings must go on naming what is new, since only
        # these pairs are compared with the store and written.
        evidence = Evidence(dict(edges), dict(decisions), blocked, crowded, crowded_by_public)
        closure = cls(rules, evidence, Liveness(evidence, rules), blocked, crowded, crowded_by_public)
        for pair in edges:
            closure._add_neighbour(*pair)
        return closure

    def add_profile(self, profile_id: str, members: Members) -> None:
        """Add a stored member list, and the labels that were written with it."""
        self.members[profile_id] = members
        # The labels of a change have the version of its member list. A label that was read itself is not replaced: it is the
        # label of a node that no list may have.
        for node in members.nodes:
            self.labels.setdefault(node, Label(profile_id, members.version))

    def add_stored(self, node: str, neighbours: Neighbours) -> None:
        """Join what the store knows about the pairs of one node into the evidence."""
        self.read_nodes.add(node)
        if neighbours.crowded:
            self.crowded.add(node)
        if neighbours.crowded_by_public:
            self.crowded_by_public.add(node)
        for other, edge in neighbours.edges.items():
            self._add_neighbour(node, other)
            self._add_stored_edge(ordered_pair(node, other), edge)
        for (kind, other), decision in neighbours.decisions.items():
            self._add_stored_decision((kind, *ordered_pair(node, other)), decision)

    def _add_stored_edge(self, pair: Pair, edge: Edge) -> None:
        if pair in self.stored_edges:  # every edge is stored at both of its ends and may be read twice
            return
        self.stored_edges[pair] = edge
        before = self.evidence.edges.get(pair)  # the new edges of the slice were counted by `start`; none may count twice
        add_edge(self.evidence.edges, pair, edge)
        self.liveness.add_edge(pair, before)

    def _add_stored_decision(self, key: tuple[DecisionKind, str, str], decision: Decision) -> None:
        if key in self.stored_decisions:  # read at the other end of the pair already
            return
        self.stored_decisions[key] = decision
        new_decision = self.evidence.decisions.get(key)
        self.evidence.decisions[key] = decision if new_decision is None else new_decision.join(decision)

    def _add_neighbour(self, a: str, b: str) -> None:
        self._neighbours.setdefault(a, set()).add(b)
        self._neighbours.setdefault(b, set()).add(a)

    def owners_of(self, node: str) -> set[str]:
        """Return the owners of the first events of the node's edges: their fragments know the value behind the node."""
        edges = (self.evidence.edges[ordered_pair(node, other)] for other in self._neighbours.get(node, ()))
        return {edge.owner for edge in edges if edge.owner}

    def resolve(self) -> Resolution:
        """Resolve the nodes of the closure, beside the profiles around as far as they are known."""
        # A dead node may have thousands of edges, and none of them joins anything.
        alive = {node for node in self.read_nodes | self.nodes if self.liveness.dead_node(node) is None}
        return self._resolve(replace(self.evidence, edges={pair: self.evidence.edges[pair] for pair in self._judged_pairs(alive)}))

    def explain(self) -> tuple[Evidence, Resolution]:
        """Return the same resolution with the reason of every edge, and the evidence that it decided about.

        The evidence lacks the edges between two profiles that are both outside, since those are not tried.
        """
        pairs = self._judged_pairs(self.read_nodes | self.nodes)
        judged = replace(self.evidence, edges={pair: self.evidence.edges[pair] for pair in pairs})
        return judged, self._resolve(judged)

    def _resolve(self, evidence: Evidence) -> Resolution:
        return resolve(evidence, self.rules, self.nodes.union(*evidence.edges), self.liveness)

    def _judged_pairs(self, among: set[str]) -> Iterator[Pair]:
        """Yield the edges of the nodes `among` that lead into the closure, or stay within one profile."""
        for node in self.nodes & among:
            for other in self._neighbours.get(node, ()):
                yield ordered_pair(node, other)
        for node in (self.read_nodes - self.nodes) & among:
            profile_id = self.labels[node].profile_id
            for other in self._neighbours.get(node, ()):
                # The label of an unread node is known only as a member of a profile, so an unknown one is another's.
                if other not in self.nodes and other in self.labels and self.labels[other].profile_id == profile_id:
                    yield ordered_pair(node, other)

    def reach(self) -> Reach:
        """Return what must be read, or must enter, before the closure decides about its nodes; nothing when it is finished."""
        labels = self.resolve().labels
        own_labels = {labels[node] for node in self.nodes}
        joined = {node for node, label in labels.items() if label in own_labels} - self.nodes
        # First what can prove that an edge does not join, and only then what a join that is certain brings in.
        unread = joined - self.read_nodes
        if not unread:
            profiles = {self.labels[node].profile_id for node in joined}
            unread = {node for name in profiles for node in self.members[name].nodes} - self.read_nodes
        return Reach(frozenset(unread)) if unread else Reach(entering=frozenset(joined))

    def surroundings(self) -> frozenset[str]:
        """Return what must still be read of the profiles that live edges lead to: the nodes at these edges, then the members."""
        ends = {node for pair in self._open_pairs() for node in pair} - self.nodes
        unread = ends - self.read_nodes
        profiles = {self.labels[node].profile_id for node in ends - unread}
        return frozenset(unread | {node for name in profiles for node in self.members[name].nodes} - self.read_nodes)

    def _open_pairs(self) -> Iterable[Pair]:
        pairs = (ordered_pair(node, other) for node in self.nodes for other in self._neighbours.get(node, ()))
        return (pair for pair in pairs if not self.nodes.issuperset(pair) and self.liveness.dead_edge(*pair) is None)
