"""The worked examples in the docstrings of clusters, closures and relabelling."""

from domain.identity.closure import Closure
from domain.identity.clusters import DeadEdge, Evidence, resolve
from domain.identity.explanation import IdentityExplainer
from domain.identity.model import Edge, Label, Members, Neighbours
from domain.identity.relabelling import NewEvidence, decide, join_records
from domain.identity.rules import DEFAULT_RULES
from schemas.instants import DAY_MS
from schemas.records import Link, LinkDecision

USER_1, USER_2, EMAIL, TABLET = (f"{rank}{number:031x}" for rank, number in ((0, 1), (0, 2), (2, 3), (4, 4)))


def edge(day: int, hour: int = 0, event: str = "") -> Edge:
    at_ms = day * DAY_MS + hour * 3_600_000
    return Edge(first_ms=at_ms, first_event=event, last_ms=at_ms, last_event=event, source="shop")


def test_joined_evidence_has_the_first_event_and_the_earliest_event_of_the_latest_day() -> None:
    first, noon, later = edge(3, 10, "e1"), edge(3, 12, "e2"), edge(5, 9, "e3")
    joined = first.join(noon).join(later)
    assert later.join(noon).join(first) == joined
    assert joined.first_event == "e1"
    assert joined.last_event == "e3"


def test_tablet_follows_the_user_who_used_it_last_and_joins_no_two_users() -> None:
    older, newer = (USER_1, TABLET), (USER_2, TABLET)
    evidence = Evidence({older: edge(1), newer: edge(2)})
    resolution = resolve(evidence, DEFAULT_RULES)
    assert resolution.labels == {USER_1: USER_1, USER_2: USER_2, TABLET: USER_2}
    assert resolution.joining_edges == (newer,)
    assert resolution.dead_edges == {older: DeadEdge("unique", "user_id", 1)}
    [step] = IdentityExplainer(evidence, DEFAULT_RULES, resolution).explain_pair(USER_1, TABLET).steps
    assert step.refusal is not None
    assert step.refusal.limit == 1
    assert step.refusal.end_values == ((USER_1,), (USER_2,))
    assert step.refusal.earlier_links == (newer,)


def test_records_may_name_the_ends_of_a_pair_in_either_order() -> None:
    links = [
        Link(
            a=a, b=b, first_ms=1, first_event="e", last_ms=1, last_event="e", source="shop", owner=USER_1, rule="together", rules=""
        )
        for a, b in ((USER_1, EMAIL), (EMAIL, USER_1))
    ]
    cuts = [
        LinkDecision(operation="o", action="cut", pairs=(("cut", a, b),), on=True, at_ms=1)
        for a, b in ((USER_1, EMAIL), (EMAIL, USER_1))
    ]
    evidence = join_records([*links, *cuts])
    assert list(evidence.edges) == [(USER_1, EMAIL)]
    assert list(evidence.decisions) == [("cut", USER_1, EMAIL)]


def test_an_edge_both_stored_and_new_counts_as_a_single_neighbour() -> None:
    pair = (USER_1, EMAIL)
    closure = Closure.start({pair: edge(2)}, {}, DEFAULT_RULES)
    closure.add_stored(USER_1, Neighbours({EMAIL: edge(1)}))
    closure.add_stored(EMAIL, Neighbours({USER_1: edge(1)}))
    assert closure.stored_edges == {pair: edge(1)}
    assert closure.evidence.edges == {pair: edge(1).join(edge(2))}
    assert closure.liveness._degrees.strong == {EMAIL: 1}


def test_every_moved_node_gets_a_label_and_every_dissolved_profile_says_where_it_went() -> None:
    pair = (USER_1, EMAIL)
    closure = Closure.start({pair: edge(1)}, {}, DEFAULT_RULES)
    closure.nodes = {USER_1, EMAIL, TABLET}
    closure.add_stored(EMAIL, Neighbours({TABLET: edge(0)}))
    closure.labels = {USER_1: Label(USER_1, 0), EMAIL: Label(EMAIL, 4), TABLET: Label(EMAIL, 4)}
    new_evidence = NewEvidence({pair: edge(1)}, {}, (), frozenset(pair))
    change = decide(closure, new_evidence, version=7, now_ms=9)
    assert change.labels == dict.fromkeys((USER_1, EMAIL, TABLET), Label(USER_1, 7))
    assert change.members[USER_1] == Members((USER_1, EMAIL, TABLET), 7, at_ms=9)
    assert change.members[EMAIL] == Members((), 7, merged_into=USER_1, at_ms=9)
    assert change.members[TABLET] == Members((), 7, merged_into=USER_1, at_ms=9)
    assert change.edges == {pair: edge(1)}
