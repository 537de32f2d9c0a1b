"""What the link agent must know to decide about some nodes. Pure."""

from dataclasses import dataclass, field

from domain.identity.clusters import Evidence, Liveness
from domain.identity.model import Decisions, Edges, Label, Members


@dataclass(slots=True)
class Closure:
    """`nodes` are closed under live edges and under the clusters that they have been in. Their evidence, with what is new joined
    into it, their labels, and the member lists of their profiles are given; `stored_edges` is the evidence without what is new."""

    evidence: Evidence
    liveness: Liveness
    nodes: set[str] = field(default_factory=set)
    stored_edges: Edges = field(default_factory=dict)
    stored_decisions: Decisions = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)
