"""Evidence as events make it, and as records of `links` carry it. Pure."""

from collections.abc import Iterable
from typing import Final

from domain.identity.model import Decision, Decisions, Edge, Edges
from schemas.events import Event
from schemas.identifiers import links_from_strongest
from schemas.records import Link, LinkDecision

EDGE_FIELDS: Final = ("first_ms", "first_event", "last_ms", "last_event", "source", "owner", "rule", "rules")


def edge_of_event(event: Event, rules: str = "") -> Edge:
    """The evidence that an event is for each pair of its star; `rules` is the version of the identity rules now."""
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
    """The evidence in a record."""
    return Edge(**{name: getattr(link, name) for name in EDGE_FIELDS})


def link_of(a: str, b: str, edge: Edge) -> Link:
    """The record that says an edge."""
    return Link(a=a, b=b, **{name: getattr(edge, name) for name in EDGE_FIELDS})


def add_edge(edges: Edges, pair: tuple[str, str], edge: Edge) -> None:
    """Join an edge into what is known."""
    stored = edges.get(pair)
    edges[pair] = edge if stored is None else stored.join(edge)


def add_event_edges(edges: Edges, event: Event) -> None:
    """Join what an event is evidence for."""
    for pair in links_from_strongest(event.nodes):
        add_edge(edges, pair, edge_of_event(event))


def add_decision(decisions: Decisions, record: LinkDecision) -> None:
    """Join what a person decided."""
    decision = Decision(record.on, record.at_ms, record.operation)
    for key in record.pairs:
        stored = decisions.get(key)
        decisions[key] = decision if stored is None else stored.join(decision)


def nodes_of(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """All nodes of some pairs."""
    return {node for pair in pairs for node in pair}
