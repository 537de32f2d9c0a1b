"""What comes by a public write key takes nothing from what trusted sources have said, over random histories."""

import os
import random

import msgspec
import pytest

from domain.identity import clusters
from domain.identity.clusters import Evidence, resolve
from domain.identity.evidence import add_decision, add_event_edges
from domain.identity.model import Decisions, Edges
from domain.identity.rules import CompiledIdentityRules
from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.join import join_fragments
from domain.segments.plan import SegmentPlan
from schemas.events import Event
from schemas.records import LinkDecision
from tests.support.events import SECRET
from tests.support.identity_histories import CROWDED_AT, random_history
from tests.support.rounds import rounds

FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
SEEDS = range(FIRST, FIRST + rounds(quick=400, thorough=10_000))


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_NEIGHBOURS", CROWDED_AT)


def labels_of(
    events: list[Event], decisions: list[LinkDecision], rules: CompiledIdentityRules, known: list[Event]
) -> dict[str, str]:
    """Return the labels that follow from these events and decisions; `known` are events that tell the values behind nodes."""
    edges, joined_decisions = Edges(), Decisions()
    for event in events:
        add_event_edges(edges, event, SECRET)
    for decision in decisions:
        add_decision(joined_decisions, decision)
    # A pattern of the rules blocks a value whoever has told it.
    values = {node: pair for event in known for node, pair in zip(event.nodes, event.identifiers, strict=True)}
    nodes = {node for pair in edges for node in pair} | {node for event in events for node in event.nodes}
    blocked = {node for node in nodes if rules.is_blocked(node, values.get(node))}
    return resolve(Evidence(edges, joined_decisions, blocked), rules, nodes).labels


def with_trust(events: list[Event], *, trusted: bool) -> list[Event]:
    return [msgspec.structs.replace(event, trusted=trusted) for event in events]


def test_who_is_one_customer_by_trusted_evidence_stays_one_whatever_public_keys_send() -> None:
    joined = 0
    for seed in SEEDS:
        history, rng = random_history(seed), random.Random(seed)
        events = [msgspec.structs.replace(event, trusted=rng.random() < 0.5) for event in history.events]
        trusted = [event for event in events if event.trusted]
        before = labels_of(trusted, history.decisions, history.rules, events)
        after = labels_of(events, history.decisions, history.rules, events)
        for node, profile_id in before.items():
            assert after[node] == after[profile_id], f"seed {seed}: a public event has taken a trusted customer apart"
        joined += sum(node != profile_id for node, profile_id in before.items())
    assert joined > len(SEEDS) / 2, "the histories join too little to show anything"


def test_a_purely_public_world_has_the_same_customers_as_a_purely_trusted_one() -> None:
    for seed in SEEDS:
        history = random_history(seed)
        public, trusted = (
            labels_of(with_trust(history.events, trusted=trust), history.decisions, history.rules, history.events)
            for trust in (False, True)
        )
        assert public == trusted, f"seed {seed}"


def test_a_trait_of_a_trusted_source_stays_whatever_public_keys_send() -> None:
    shown = 0
    for seed in SEEDS:
        history, rng = random_history(seed), random.Random(seed)
        events = [msgspec.structs.replace(event, trusted=rng.random() < 0.5) for event in history.events]
        rng.shuffle(events)
        before, after = (traits_of(some) for some in ([event for event in events if event.trusted], events))
        assert {name: after[name] for name in before} == before, f"seed {seed}"
        shown += len(before)
    assert shown > len(SEEDS) / 2, "the histories set too few traits to show anything"


def traits_of(events: list[Event]) -> dict[str, object]:
    """Return the traits of one profile that owns all of these events."""
    fragments: dict[str, Fragment] = {}
    for event in events:
        apply_event(fragments.setdefault(event.owner, Fragment()), event, SegmentPlan())
    return dict(join_fragments(fragments.values(), {}).trait_values)
