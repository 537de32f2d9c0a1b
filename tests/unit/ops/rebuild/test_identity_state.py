"""The hash over evidence and decisions."""

import random
from dataclasses import replace

import pytest

from ops.rebuild.identity_state import (Kept, gathered, kept_hash, of_redis)
from profile_store.memory import MemoryStore
from profile_store.port import Decision, Edge, Place, Writes
from runtime.clock import ManualClock

EDGE = Edge(5, "m1", 9, "m2", "web")
KEPT = Kept(
    {("0a", "2b"): EDGE, ("0a", "3c"): EDGE, ("2b", "3c"): EDGE},
    {("cut", "0a", "2b"): Decision(True, 7, "o1"), ("apart", "0a", "3c"): Decision(False, 8, "o2")},
)


async def test_what_a_store_holds_is_what_was_written() -> None:
    store = MemoryStore(ManualClock())
    await store.save(Place("links", 0, 1), None, 1, Writes(edges=KEPT.edges, decisions=KEPT.decisions))
    assert await of_redis(store) == KEPT


def test_the_hash_depends_neither_on_order_nor_on_which_event_of_an_instant_was_first() -> None:
    edges, decisions = list(KEPT.edges.items()), list(KEPT.decisions.items())
    random.Random(1).shuffle(edges)
    other = Kept({key: replace(edge, first_event="m9", source="app") for key, edge in edges}, dict(decisions[::-1]))
    assert kept_hash(other) == kept_hash(KEPT)


@pytest.mark.parametrize(
    "other",
    [
        Kept({**KEPT.edges, ("0a", "2b"): replace(EDGE, last_ms=10)}, KEPT.decisions),
        Kept({**KEPT.edges, ("0a", "2b"): replace(EDGE, first_ms=4)}, KEPT.decisions),
        Kept({("0a", "2b"): EDGE}, KEPT.decisions),
        Kept(KEPT.edges, {**KEPT.decisions, ("cut", "0a", "2b"): Decision(False, 7, "o1")}),
        Kept(KEPT.edges, {}),
        Kept(KEPT.edges, KEPT.decisions, torn=1),
    ],
)
def test_the_hash_sees_any_difference(other: Kept) -> None:
    assert kept_hash(other) != kept_hash(KEPT)


def test_ends_that_say_different_things_are_counted() -> None:
    decision = Decision(True, 7, "o1")
    whole: dict[str, dict[str, Edge | Decision]] = {"0a": {"2b": EDGE, "-2b": decision}, "2b": {"0a": EDGE, "-0a": decision}}
    assert gathered(whole).torn == 0
    assert gathered({"0a": whole["0a"]}).torn == 0
    assert gathered({"0a": whole["0a"], "2b": {"0a": EDGE}}).torn == 1
    assert gathered({"0a": whole["0a"], "2b": {"0a": replace(EDGE, last_ms=10), "-0a": decision}}).torn == 2
