"""Explanations are held against what `resolve` decides, over random evidence."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity.explanation import Explainer, Step
from domain.identity.clusters import (Dead, Evidence, Resolution, order, pair, resolve)
from profile_store.port import DAY_MS, Decision, DecisionKind, Edge
from domain.identity.rules import DEFAULT_RULES, Rules

TIGHT = Rules(
    neighbours={"email": 1, "device_id": 2, "anonymous_id": 2},
    per_profile={"user_id": 1, "crm_id": 2},
    max_members=5,
)
FREE = Rules(neighbours={}, per_profile={}, max_members=10_000)
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


def is_way(steps: tuple[Step, ...], a: str, b: str) -> bool:
    ends = [a, *(step.end for step in steps)]
    return ends[-1] == b and all(step.start == end for step, end in zip(steps, ends, strict=False))


@settings(max_examples=400)
@given(knowledge(), RULES, st.sampled_from(NODES), st.sampled_from(NODES))
def test_two_are_together_exactly_when_a_way_of_taken_edges_joins_them(evidence: Evidence, rules: Rules, a: str, b: str) -> None:
    found = resolve(evidence, rules)
    why = Explainer(evidence, rules, found).why(a, b)
    together = found.labels.get(a, a) == found.labels.get(b, b)
    assert (why.verdict in ("same", "together")) == together
    if why.verdict == "together":
        assert is_way(why.steps, a, b)
        way = [pair(step.start, step.end) for step in why.steps]
        assert all(key in found.taken for key in way)
        assert not why.refused
        # the strongest way: what is stronger than its weakest edge does not join the two
        turn = order(rules)
        weakest = max(turn((key, evidence.edges[key])) for key in way)
        stronger = {k: e for k, e in evidence.edges.items() if k not in found.dead and turn((k, e)) < weakest}
        parts = resolve(Evidence(stronger), FREE).labels
        assert parts.get(a, a) != parts.get(b, b)


@settings(max_examples=400)
@given(knowledge(), RULES, st.sampled_from(NODES), st.sampled_from(NODES))
def test_two_that_evidence_connects_are_apart_by_a_named_refusal_on_every_way(
    evidence: Evidence, rules: Rules, a: str, b: str
) -> None:
    found = resolve(evidence, rules)
    why = Explainer(evidence, rules, found).why(a, b)
    raw = resolve(Evidence(evidence.edges), FREE)
    connected = raw.labels.get(a, a) == raw.labels.get(b, b)
    if why.verdict == "never_together":
        assert not connected
    if why.verdict == "apart":
        assert connected
        assert is_way(why.steps, a, b)
        assert {pair(s.start, s.end): s.refusal.dead for s in why.refused if s.refusal} == {
            key: dead for key, dead in found.dead.items() if key in {pair(s.start, s.end) for s in why.steps}
        }
        # every way has a dead edge: without them the two are in two parts
        alive = Evidence({key: held for key, held in evidence.edges.items() if key not in found.dead})
        parts = resolve(alive, FREE).labels
        assert parts.get(a, a) != parts.get(b, b)
        assert why.refused


def without_cause(evidence: Evidence, rules: Rules, key: tuple[str, str], dead: Dead) -> Resolution:
    """The resolution of the same evidence without what the reason names."""
    if dead.reason in ("cut", "apart"):
        kept = {k: d if d.operation != dead.at else replace(d, on=False) for k, d in evidence.decisions.items()}
        return resolve(replace(evidence, decisions=kept), rules)
    if dead.reason == "blocked":
        return resolve(replace(evidence, blocked=frozenset(evidence.blocked) - {dead.at}), rules)
    if dead.reason == "generic":
        namespace = {"2": "email", "4": "device_id", "5": "anonymous_id"}[dead.at[0]]
        return resolve(evidence, replace(rules, neighbours={**rules.neighbours, namespace: None}))
    if dead.reason == "unique":
        return resolve(evidence, replace(rules, per_profile={**rules.per_profile, dead.at: None}))
    assert dead.reason == "size", key
    return resolve(evidence, replace(rules, max_members=10_000))


@settings(max_examples=300)
@given(knowledge(), RULES)
def test_without_its_cause_an_edge_is_not_dead_for_that_reason(evidence: Evidence, rules: Rules) -> None:
    found = resolve(evidence, rules)
    for key, dead in found.dead.items():
        assert without_cause(evidence, rules, key, dead).dead.get(key) != dead


@settings(max_examples=300)
@given(knowledge(), RULES)
def test_what_stands_behind_a_limit_was_there_when_the_edge_had_its_turn(evidence: Evidence, rules: Rules) -> None:
    found = resolve(evidence, rules)
    turns = Explainer(evidence, rules, found).how(NODES)
    assert [pair(t.step.start, t.step.end) for t in turns if t.outcome == "joined"] == list(found.taken)
    assert len(turns) == len(evidence.edges)
    joined: set[tuple[str, str]] = set()
    for turn in turns:
        key = pair(turn.step.start, turn.step.end)
        if turn.outcome == "joined":
            joined.add(key)
        refusal = turn.step.refusal
        assert (refusal is not None) == (turn.outcome == "left_out")
        if refusal is None:
            continue
        assert set(refusal.links) <= joined
        if refusal.dead.reason == "unique":
            assert refusal.limit is not None
            assert len(refusal.sides[0]) + len(refusal.sides[1]) > refusal.limit
            assert all(refusal.sides)
        if refusal.dead.reason == "size":
            assert len(refusal.sides[0]) + len(refusal.sides[1]) > rules.max_members
        if refusal.dead.reason == "apart":
            assert refusal.pair is not None
            assert found.labels[refusal.pair[0]] != found.labels[refusal.pair[1]]
        if refusal.dead.reason in ("cut", "apart"):
            assert refusal.decision is not None
            assert refusal.decision.on


def test_the_newer_link_that_took_a_unique_place_is_named() -> None:
    evidence = Evidence({(U1, COOKIE): edge(5 * DAY_MS), (U2, COOKIE): edge(DAY_MS)})
    why = Explainer(evidence, DEFAULT_RULES, resolve(evidence, DEFAULT_RULES)).why(U1, U2)
    assert why.verdict == "apart"
    (step,) = why.refused
    assert {step.start, step.end} == {COOKIE, U2}
    assert step.refusal is not None
    assert step.refusal.dead.reason == "unique"
    assert step.refusal.sides in (((U1,), (U2,)), ((U2,), (U1,)))
    assert step.refusal.links == ((U1, COOKIE),)


def test_a_way_through_a_generic_value_is_shown_with_its_count() -> None:
    owners = NODES[3:6]
    evidence = Evidence({(owner, EMAIL): edge(n) for n, owner in enumerate(owners)})
    rules = replace(DEFAULT_RULES, neighbours={**DEFAULT_RULES.neighbours, "email": 2})
    why = Explainer(evidence, rules, resolve(evidence, rules, owners)).why(owners[0], owners[1])
    assert [step.refusal and (step.refusal.dead, step.refusal.limit) for step in why.steps] == [
        (Dead("generic", EMAIL, 3), 2),
        (Dead("generic", EMAIL, 3), 2),
    ]


def test_a_direct_link_that_only_confirms_is_shown_beside_the_newer_way() -> None:
    evidence = Evidence({(U1, COOKIE): edge(0), (U1, EMAIL): edge(9 * DAY_MS), (EMAIL, COOKIE): edge(8 * DAY_MS)})
    why = Explainer(evidence, DEFAULT_RULES, resolve(evidence, DEFAULT_RULES)).why(U1, COOKIE)
    assert [step.end for step in why.steps] == [EMAIL, COOKIE]
    assert why.direct is not None
    assert why.direct.refusal is None


@pytest.mark.parametrize("other", [OTHER, U1])
def test_nodes_that_nothing_is_known_of_are_answered(other: str) -> None:
    why = Explainer(Evidence(), DEFAULT_RULES, resolve(Evidence(), DEFAULT_RULES)).why(U1, other)
    assert why.verdict == ("same" if other == U1 else "never_together")
