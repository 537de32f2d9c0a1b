"""Evidence as events create it, and as records of the topic `links` carry it. Pure.

Every writer of evidence goes through this file: the unify agent turns an event into edges, the link agent joins the records that it
reads, and a rebuild makes the same edges again from the events in ClickHouse. If their edges differed in one field, the stored
state would depend on which of them wrote last.

Example: an event of user u1 with e-mail m and cookie c is evidence for two pairs, (u1, m) and (u1, c): from its strongest node to
each of the others. Two edges suffice to connect three nodes; the pair (m, c) would only add a weaker link between the same nodes.
"""

from collections.abc import Iterable
from typing import Final

from domain.identity.model import Decision, Decisions, Edge, Edges, Pair
from schemas.events import Event
from schemas.identifiers import links_from_strongest
from schemas.records import Link, LinkDecision

# The attributes that an `Edge` and a `Link` record have in common. Both must name them alike: they are copied by name.
EDGE_FIELDS: Final = ("first_ms", "first_event", "last_ms", "last_event", "source", "owner", "rule", "rules")


def edge_of_event(event: Event, rules: str = "") -> Edge:
    """Return the edge that an event contributes to each of its pairs; `rules` is the version of the identity rules now in force."""
    return Edge(
        first_ms=event.time_ms,
        first_event=event.id,
        last_ms=event.time_ms,
        last_event=event.id,
        source=event.source,
        owner=event.owner,
        rule="alias" if event.type == "alias" else "together",
        rules=rules,
    )


def edge_of_link(link: Link) -> Edge:
    """Return the edge that a record of `links` carries."""
    return Edge(**{name: getattr(link, name) for name in EDGE_FIELDS})


def link_of(a: str, b: str, edge: Edge) -> Link:
    """Return the record of `links` for the edge between `a` and `b`, where a < b."""
    return Link(a=a, b=b, **{name: getattr(edge, name) for name in EDGE_FIELDS})


def add_edge(edges: Edges, pair: Pair, edge: Edge) -> None:
    """Join an edge into `edges`, in place."""
    stored = edges.get(pair)
    edges[pair] = edge if stored is None else stored.join(edge)


def add_event_edges(edges: Edges, event: Event) -> None:
    """Join the edges of an event into `edges`, in place."""
    # Without a version of the rules: a stored event does not tell which rules were in force on its day. The caller takes the
    # version from published evidence (`domain.identity.state.merge_event_evidence`).
    for pair in links_from_strongest(event.nodes):
        add_edge(edges, pair, edge_of_event(event))


def add_decision(decisions: Decisions, record: LinkDecision) -> None:
    """Join a person's decision about one or more pairs into `decisions`, in place."""
    decision = Decision(on=record.on, at_ms=record.at_ms, operation=record.operation)
    for key in record.pairs:
        stored = decisions.get(key)
        decisions[key] = decision if stored is None else stored.join(decision)


def nodes_of(pairs: Iterable[Pair]) -> set[str]:
    """Return all nodes that occur in the pairs."""
    return {node for pair in pairs for node in pair}
