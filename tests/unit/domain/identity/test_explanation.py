"""Explanations agree with what `resolve` decides, over random evidence."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity.clusters import DeadEdge, Evidence, Resolution, preference_key, resolve
from domain.identity.explanation import EvidenceStep, IdentityExplainer
from domain.identity.model import Decision, DecisionKind, Edge, ordered_pair
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from schemas.instants import DAY_MS
from tests.support.rounds import rounds

TIGHT = CompiledIdentityRules(
    max_neighbours={"email": 1, "device_id": 2, "anonymous_id": 2},
    max_per_profile={"user_id": 1, "crm_id": 2},
    max_members=5,
)
FREE = CompiledIdentityRules(max_neighbours={}, max_per_profile={}, max_members=10_000)
NODES = [f"{rank}{n:031x}" for rank in range(6) for n in range(3)]
U1, U2, EMAIL, COOKIE, OTHER = NODES[0], NODES[1], NODES[6], NODES[15], NODES[16]


def edge(first_ms: int, last_ms: int | None = None) -> Edge:
    last = first_ms if last_ms is None else last_ms
    return Edge(first_ms, f"e{first_ms}", last, f"e{last}", "shop")


@st.composite
def knowledge(draw: st.DrawFn) -> Evidence:
    pairs = st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)).filter(lambda ab: ab[0] < ab[1])
    days = st.integers(0, 5)
    edges = {
        key: edge(first * DAY_MS + ms, (first + later) * DAY_MS + ms)
        for key, first, later, ms in draw(st.lists(st.tuples(pairs, days, days, st.integers(0, 3)), max_size=25))
    }
    decisions: dict[tuple[DecisionKind, str, str], Decision] = {}
    kinds: st.SearchStrategy[DecisionKind] = st.sampled_from(["cut", "apart"])
    for number, (kind, key, on) in enumerate(draw(st.lists(st.tuples(kinds, pairs, st.booleans()), max_size=6))):
        decisions[kind, key[0], key[1]] = Decision(on, number, f"op{number}")
    blocked = draw(st.frozensets(st.sampled_from(NODES), max_size=2))
    return Evidence(edges, decisions, blocked)


RULES = st.sampled_from([TIGHT, replace(TIGHT, prefer="first"), DEFAULT_RULES])


def is_path(steps: tuple[EvidenceStep, ...], a: str, b: str) -> bool:
    ends = [a, *(step.end for step in steps)]
    return ends[-1] == b and all(step.start == end for step, end in zip(steps, ends, strict=False))


@settings(max_examples=rounds(quick=100, thorough=400))
@given(knowledge(), RULES, st.sampled_from(NODES), st.sampled_from(NODES))
def test_nodes_are_together_exactly_when_joining_edges_connect_them(
    evidence: Evidence, rules: CompiledIdentityRules, a: str, b: str
) -> None:
    resolution = resolve(evidence, rules)
    explanation = IdentityExplainer(evidence, rules, resolution).explain_pair(a, b)
    together = resolution.labels.get(a, a) == resolution.labels.get(b, b)
    assert (explanation.relation in ("same", "together")) == together
    if explanation.relation == "together":
        assert is_path(explanation.steps, a, b)
        path = [ordered_pair(step.start, step.end) for step in explanation.steps]
        assert all(key in resolution.joining_edges for key in path)
        assert not explanation.refused_steps
        # The path is the strongest one: the edges that are stronger than its weakest edge do not join the two nodes.
        order_of = preference_key(rules)
        weakest = max(order_of((key, evidence.edges[key])) for key in path)
        stronger = {k: e for k, e in evidence.edges.items() if k not in resolution.dead_edges and order_of((k, e)) < weakest}
        parts = resolve(Evidence(stronger), FREE).labels
        assert parts.get(a, a) != parts.get(b, b)


@settings(max_examples=rounds(quick=100, thorough=400))
@given(knowledge(), RULES, st.sampled_from(NODES), st.sampled_from(NODES))
def test_nodes_apart_have_a_named_refusal_on_every_path_of_evidence(
    evidence: Evidence, rules: CompiledIdentityRules, a: str, b: str
) -> None:
    resolution = resolve(evidence, rules)
    explanation = IdentityExplainer(evidence, rules, resolution).explain_pair(a, b)
    raw = resolve(Evidence(evidence.edges), FREE)
    connected = raw.labels.get(a, a) == raw.labels.get(b, b)
    if explanation.relation == "never_together":
        assert not connected
    if explanation.relation == "apart":
        assert connected
        assert is_path(explanation.steps, a, b)
        assert {ordered_pair(s.start, s.end): s.refusal.dead for s in explanation.refused_steps if s.refusal} == {
            key: dead
            for key, dead in resolution.dead_edges.items()
            if key in {ordered_pair(s.start, s.end) for s in explanation.steps}
        }
        # Every path has a dead edge: without dead edges the two nodes are in different clusters.
        alive = Evidence({key: edge for key, edge in evidence.edges.items() if key not in resolution.dead_edges})
        parts = resolve(alive, FREE).labels
        assert parts.get(a, a) != parts.get(b, b)
        assert explanation.refused_steps


def without_cause(evidence: Evidence, rules: CompiledIdentityRules, key: tuple[str, str], dead: DeadEdge) -> Resolution:
    """Resolve the same evidence without the limit or decision that the dead edge's reason names."""
    if dead.reason in ("cut", "apart"):
        decisions = {k: d if d.operation != dead.subject else replace(d, on=False) for k, d in evidence.decisions.items()}
        return resolve(replace(evidence, decisions=decisions), rules)
    if dead.reason == "blocked":
        return resolve(replace(evidence, blocked=frozenset(evidence.blocked) - {dead.subject}), rules)
    if dead.reason == "generic":
        namespace = {"2": "email", "4": "device_id", "5": "anonymous_id"}[dead.subject[0]]
        return resolve(evidence, replace(rules, max_neighbours={**rules.max_neighbours, namespace: None}))
    if dead.reason == "unique":
        return resolve(evidence, replace(rules, max_per_profile={**rules.max_per_profile, dead.subject: None}))
    assert dead.reason == "size", key
    return resolve(evidence, replace(rules, max_members=10_000))


@settings(max_examples=rounds(quick=100, thorough=300))
@given(knowledge(), RULES)
def test_without_its_cause_an_edge_is_not_dead_for_that_reason(evidence: Evidence, rules: CompiledIdentityRules) -> None:
    resolution = resolve(evidence, rules)
    for key, dead in resolution.dead_edges.items():
        assert without_cause(evidence, rules, key, dead).dead_edges.get(key) != dead


@settings(max_examples=rounds(quick=100, thorough=300))
@given(knowledge(), RULES)
def test_limit_explanation_names_edges_considered_earlier(evidence: Evidence, rules: CompiledIdentityRules) -> None:
    resolution = resolve(evidence, rules)
    turns = IdentityExplainer(evidence, rules, resolution).replay(NODES)
    assert [ordered_pair(t.step.start, t.step.end) for t in turns if t.outcome == "joined"] == list(resolution.joining_edges)
    assert len(turns) == len(evidence.edges)
    joined: set[tuple[str, str]] = set()
    for turn in turns:
        key = ordered_pair(turn.step.start, turn.step.end)
        if turn.outcome == "joined":
            joined.add(key)
        refusal = turn.step.refusal
        assert (refusal is not None) == (turn.outcome == "left_out")
        if refusal is None:
            continue
        assert set(refusal.earlier_links) <= joined
        if refusal.dead.reason == "unique":
            assert refusal.limit is not None
            assert len(refusal.end_values[0]) + len(refusal.end_values[1]) > refusal.limit
            assert all(refusal.end_values)
        if refusal.dead.reason == "size":
            assert len(refusal.end_values[0]) + len(refusal.end_values[1]) > rules.max_members
        if refusal.dead.reason == "apart":
            assert refusal.pair is not None
            assert resolution.labels[refusal.pair[0]] != resolution.labels[refusal.pair[1]]
        if refusal.dead.reason in ("cut", "apart"):
            assert refusal.decision is not None
            assert refusal.decision.on


def test_refusal_names_the_newer_link_that_used_up_the_limit() -> None:
    evidence = Evidence({(U1, COOKIE): edge(5 * DAY_MS), (U2, COOKIE): edge(DAY_MS)})
    why = IdentityExplainer(evidence, DEFAULT_RULES, resolve(evidence, DEFAULT_RULES)).explain_pair(U1, U2)
    assert why.relation == "apart"
    (step,) = why.refused_steps
    assert {step.start, step.end} == {COOKIE, U2}
    assert step.refusal is not None
    assert step.refusal.dead.reason == "unique"
    assert step.refusal.end_values in (((U1,), (U2,)), ((U2,), (U1,)))
    assert step.refusal.earlier_links == ((U1, COOKIE),)


def test_a_path_through_a_generic_value_is_shown_with_its_count() -> None:
    owners = NODES[3:6]
    evidence = Evidence({(owner, EMAIL): edge(n) for n, owner in enumerate(owners)})
    rules = replace(DEFAULT_RULES, max_neighbours={**DEFAULT_RULES.max_neighbours, "email": 2})
    why = IdentityExplainer(evidence, rules, resolve(evidence, rules, owners)).explain_pair(owners[0], owners[1])
    assert [step.refusal and (step.refusal.dead, step.refusal.limit) for step in why.steps] == [
        (DeadEdge("generic", EMAIL, 3), 2),
        (DeadEdge("generic", EMAIL, 3), 2),
    ]


def test_a_direct_link_that_only_confirms_is_shown_beside_the_newer_path() -> None:
    evidence = Evidence({(U1, COOKIE): edge(0), (U1, EMAIL): edge(9 * DAY_MS), (EMAIL, COOKIE): edge(8 * DAY_MS)})
    why = IdentityExplainer(evidence, DEFAULT_RULES, resolve(evidence, DEFAULT_RULES)).explain_pair(U1, COOKIE)
    assert [step.end for step in why.steps] == [EMAIL, COOKIE]
    assert why.direct_step is not None
    assert why.direct_step.refusal is None


@pytest.mark.parametrize("other", [OTHER, U1])
def test_unknown_nodes_are_explained(other: str) -> None:
    why = IdentityExplainer(Evidence(), DEFAULT_RULES, resolve(Evidence(), DEFAULT_RULES)).explain_pair(U1, other)
    assert why.relation == ("same" if other == U1 else "never_together")
