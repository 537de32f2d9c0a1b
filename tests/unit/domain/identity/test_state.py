"""The hash over evidence and decisions."""

import random
from dataclasses import replace

import pytest

from domain.identity.model import Decision, Edge
from domain.identity.state import IdentityState, identity_hash
from ops.rebuild.store_states import merge_node_fields, read_identity_from_redis
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition, Writes
from runtime.clock import ManualClock

EDGE = Edge(5, "m1", 9, "m2", "web")
STORED = IdentityState(
    {("0a", "2b"): EDGE, ("0a", "3c"): EDGE, ("2b", "3c"): EDGE},
    {("cut", "0a", "2b"): Decision(True, 7, "o1"), ("apart", "0a", "3c"): Decision(False, 8, "o2")},
)


async def test_identity_state_reads_back_what_was_written() -> None:
    store = MemoryStore(ManualClock())
    await store.save(TopicPartition("links", 0, 1), None, 1, Writes(edges=STORED.edges, decisions=STORED.decisions))
    assert await read_identity_from_redis(store) == STORED


def test_the_hash_depends_neither_on_order_nor_on_which_event_of_an_instant_was_first() -> None:
    edges, decisions = list(STORED.edges.items()), list(STORED.decisions.items())
    random.Random(1).shuffle(edges)
    other = IdentityState({key: replace(edge, first_event="m9", source="app") for key, edge in edges}, dict(decisions[::-1]))
    assert identity_hash(other) == identity_hash(STORED)


@pytest.mark.parametrize(
    "other",
    [
        IdentityState({**STORED.edges, ("0a", "2b"): replace(EDGE, last_ms=10)}, STORED.decisions),
        IdentityState({**STORED.edges, ("0a", "2b"): replace(EDGE, first_ms=4)}, STORED.decisions),
        IdentityState({("0a", "2b"): EDGE}, STORED.decisions),
        IdentityState(STORED.edges, {**STORED.decisions, ("cut", "0a", "2b"): Decision(False, 7, "o1")}),
        IdentityState(STORED.edges, {}),
        IdentityState(STORED.edges, STORED.decisions, contradictions=1),
    ],
)
def test_the_hash_sees_any_difference(other: IdentityState) -> None:
    assert identity_hash(other) != identity_hash(STORED)


def test_contradicting_edge_ends_are_counted() -> None:
    decision = Decision(True, 7, "o1")
    whole: dict[str, dict[str, Edge | Decision]] = {"0a": {"2b": EDGE, "-2b": decision}, "2b": {"0a": EDGE, "-0a": decision}}
    assert merge_node_fields(whole).contradictions == 0
    assert merge_node_fields({"0a": whole["0a"]}).contradictions == 0
    assert merge_node_fields({"0a": whole["0a"], "2b": {"0a": EDGE}}).contradictions == 1
    assert merge_node_fields({"0a": whole["0a"], "2b": {"0a": replace(EDGE, last_ms=10), "-0a": decision}}).contradictions == 2
