"""Evidence as events create it, and as records of the topic `links` carry it. Pure.

Every writer of evidence goes through this file: the unify agent turns an event into edges, the link agent joins the records that it
reads, and a rebuild makes the same edges again from the events in ClickHouse. If their edges differed in one field, the stored
state would depend on which of them wrote last.

Example: an event of user u1 with e-mail m and cookie c is evidence for two pairs, (u1, m) and (u1, c): from its strongest node to
each of the others. Two edges suffice to connect three nodes; the pair (m, c) would only add a weaker link between the same nodes.

What an event does not name itself can be evidence too. The `previousId` of an alias is the customer's earlier user id or anonymous
id, and no client says which: it is evidence for both, and the one that no other event names remains without consequence. A caller
number is evidence for the phone of the same number, so that a call reaches the customer who gave the number as a phone.
"""

from collections.abc import Iterable
from typing import Final

from domain.identity.identifier_values import normalise
from domain.identity.model import Decision, Decisions, Edge, Edges, Pair, ordered_pair
from schemas.events import PREVIOUS_ID, Event
from schemas.identifiers import links_from_strongest, namespace_of, node
from schemas.records import Link, LinkDecision, LinkRule

# The attributes that an `Edge` and a `Link` record have in common. Both must name them alike: they are copied by name.
EDGE_FIELDS: Final = ("first_ms", "first_event", "last_ms", "last_event", "source", "owner", "rule", "rules", "trusted")


def event_pairs(event: Event, secret: bytes) -> dict[Pair, LinkRule]:
    """Return the pairs that an event is evidence for, each with its rule. `secret` is the tenant's key of the node hash."""
    # Events that were stored up to version 0.3.0 name the previous id among their identifiers: the star is what the alias says.
    is_old_alias = event.type == "alias" and PREVIOUS_ID not in event.properties
    pairs: dict[Pair, LinkRule] = dict.fromkeys(links_from_strongest(event.nodes), "alias" if is_old_alias else "together")
    pairs |= dict.fromkeys(_alias_pairs(event, secret), "alias")
    # Last, so that this pair has this rule whether or not an event also names the phone: naming both says no more than the number
    # does, and the rule must not depend on which event of the pair was the first.
    pairs |= dict.fromkeys(_same_number_pairs(event, secret), "same_number")
    return pairs


def _same_number_pairs(event: Event, secret: bytes) -> list[Pair]:
    """Return the pairs of each caller number of the event and the phone of the same number."""
    named = zip(event.identifiers, event.nodes, strict=True)
    return [ordered_pair(node(secret, ("phone", value)), caller) for (space, value), caller in named if space == "caller_number"]


def _alias_pairs(event: Event, secret: bytes) -> list[Pair]:
    """Return the pairs of an alias: its user id with the previous id, as a user id and as an anonymous id."""
    previous_id = event.properties.get(PREVIOUS_ID) if event.type == "alias" else None
    # The owner is the user id whenever that is usable, and an alias to nobody is evidence for nothing.
    if not isinstance(previous_id, str) or namespace_of(event.owner) != "user_id":
        return []
    # The anonymous id of this very call needs no second meaning.
    namespaces = ("anonymous_id",) if ("anonymous_id", previous_id) in event.identifiers else ("user_id", "anonymous_id")
    # Ids have one spelling in all countries, so none is needed.
    values = [(namespace, normalise(namespace, previous_id, "")) for namespace in namespaces]
    nodes = [node(secret, (namespace, value)) for namespace, value in values if value is not None]
    # A client that is identified already sends an alias of itself: it links nothing.
    return [] if event.owner in nodes else [ordered_pair(event.owner, previous) for previous in nodes]


def edge_of_event(event: Event, rule: LinkRule, rules: str = "") -> Edge:
    """Return the edge that an event contributes to one of its pairs; `rules` is the version of the identity rules now in force."""
    return Edge(
        first_ms=event.time_ms,
        first_event=event.id,
        last_ms=event.time_ms,
        last_event=event.id,
        source=event.source,
        owner=event.owner,
        rule=rule,
        rules=rules,
        trusted=event.trusted,
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


def add_event_edges(edges: Edges, event: Event, secret: bytes) -> None:
    """Join the edges of an event into `edges`, in place. `secret` is the tenant's key of the node hash."""
    # Without a version of the rules: a stored event does not tell which rules were in force on its day. The caller takes the
    # version from published evidence (`domain.identity.state.merge_event_evidence`).
    for pair, rule in event_pairs(event, secret).items():
        add_edge(edges, pair, edge_of_event(event, rule))


def add_decision(decisions: Decisions, record: LinkDecision) -> None:
    """Join a person's decision about one or more pairs into `decisions`, in place."""
    decision = Decision(on=record.on, at_ms=record.at_ms, operation=record.operation)
    for kind, a, b in record.pairs:
        key = (kind, *ordered_pair(a, b))
        stored = decisions.get(key)
        decisions[key] = decision if stored is None else stored.join(decision)


def nodes_of(pairs: Iterable[Pair]) -> set[str]:
    """Return all nodes that occur in the pairs."""
    return {node for pair in pairs for node in pair}
