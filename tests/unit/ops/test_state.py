"""The state hash, and what a refilled store is made of."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.refill import CHUNK, chunks, identities, membership_documents, place_of
from ops.state import Recomputed, State, state_hash, torn
from profile_store import memberships, model
from profile_store.evidence import witness
from profile_store.identity import Evidence, members_of, resolve
from profile_store.port import Label, Place, Writes
from runtime.bus.partitioner import partition_of
from schemas.events import Event
from segments.identity import DEFAULT_RULES
from segments.plan import Plan
from tests.support.events import START_MS, event


def state_of(events: list[Event]) -> Recomputed:
    recomputed = Recomputed(State(), {}, len(events))
    for said in events:
        model.apply(recomputed.state.fragments.setdefault(said.owner, model.Fragment()), said, Plan(()))
        witness(recomputed.edges, said)
    recomputed.state.members = members_of(resolve(Evidence(recomputed.edges), DEFAULT_RULES).labels)
    return recomputed


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9), st.integers(0, 50)), max_size=12, unique_by=lambda t: t[2]
).map(
    lambda drawn: [
        event(
            {"user_id": f"u{who}", **({"anonymous_id": f"c{cookie}"} if cookie else {})},
            id=f"m{n}",
            type="identify",
            traits={"tên": f"Ánh {n}"},
            time_ms=START_MS + at,
        )
        for who, cookie, n, at in drawn
    ]
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_order_or_repetition(events: list[Event], rng: random.Random) -> None:
    shuffled = [*events, *events[:3]]
    rng.shuffle(shuffled)
    assert state_hash(state_of(shuffled).state) == state_hash(state_of(events).state)


@pytest.mark.parametrize(
    "other",
    [
        {"traits": {"tên": "Ánh "}},
        {"traits": {}},
        {"name": "Khác", "type": "track"},
        {"time_ms": START_MS + 1},
    ],
)
def test_the_hash_sees_any_difference(other: dict[str, object]) -> None:
    base: dict[str, object] = {"id": "m1", "type": "identify", "traits": {"tên": "Ánh"}}
    first = state_of([event({"user_id": "u1"}, **base)]).state  # type: ignore[arg-type]  # each is of its parameter's type
    second = state_of([event({"user_id": "u1"}, **{**base, **other})]).state  # type: ignore[arg-type]  # the same
    assert state_hash(first) != state_hash(second)


def test_a_node_that_is_alone_and_has_no_fragment_is_no_profile() -> None:
    state = State(members={"3a": ("3a",), "0a": ("0a", "5b")})
    assert state.profiles() == {"0a": ("0a", "5b")}


def test_labels_and_members_that_contradict_are_counted() -> None:
    assert torn({"5b": "0a", "0a": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert torn({"5b": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert torn({"5b": "0c"}, {"0a": ("0a", "5b")}) == 2
    assert torn({}, {"0a": ("0a", "5b")}) == 1


@given(EVENTS)
def test_identities_say_the_same_in_labels_and_members(events: list[Event]) -> None:
    recomputed = state_of(events)
    labels, members = identities(recomputed, 7)
    living = {profile_id: entry.nodes for profile_id, entry in members.items() if entry.nodes}
    assert torn({node: label.profile_id for node, label in labels.items()}, living) == 0
    assert {entry.version for entry in members.values()} <= {7}
    for node, entry in members.items():
        if entry.merged_into:
            assert labels[node].profile_id == entry.merged_into


def test_memberships_of_a_profile_that_did_not_leave_yet_stay_as_they_are() -> None:
    place = Place("touched", 0, 1)
    rows = [("5b", "vip", 4, "entered", 10, "event"), ("5b", "old", 3, "exited", 9, "merge")]
    found = membership_documents(rows, {"5b": Label("0a", 2)}, {place: 6})
    document = found[place]["membership", "5b"]
    assert (document.guard, document.offset) == (place.name, 5)
    held = memberships.decode(document.data)
    assert held.dissolved_into == ""
    assert held.held() == {"vip"}


def test_writes_are_cut_into_pieces_that_together_are_all() -> None:
    labels = {f"n{n}": Label("0a", n) for n in range(CHUNK * 2 + 1)}
    parts = list(chunks(Writes(labels=labels)))
    assert [len(part.labels) for part in parts] == [CHUNK, CHUNK, 1]
    assert {node: label for part in parts for node, label in part.labels.items()} == labels


def test_a_key_goes_to_the_place_of_its_partition() -> None:
    places = {Place("events", number, 4): 0 for number in range(4)}
    for n in range(50):
        assert place_of(places, f"n{n}").partition == partition_of(f"n{n}".encode(), 4)
