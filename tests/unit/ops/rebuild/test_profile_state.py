"""The state hash, and what a refilled store is made of."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.rebuild.refill import (CHUNK, Identities, Past, chunks, identities, membership_documents, place_of)
from ops.rebuild.profile_state import (Recomputed, State, differing, rules_of, state_hash, torn)
from ops.rebuild.identity_state import witnessed
from domain.profiles import membership as memberships, fragment as model
from domain.identity.evidence import Edges, of_event
from domain.identity.clusters import pair
from domain.profiles.membership import VACANT
from profile_store.port import Decision, Label, Members, Place, Writes
from runtime.bus.partitioner import partition_of
from runtime.settings import Settings
from schemas.events import Event
from domain.definitions.kinds import decode
from domain.identity.rules import (DEFAULT_RULES, IdentityRulesSpec, NamespaceRules, Rules)
from domain.segments.plan import Plan
from tests.support.events import SECRET, START_MS, event

REGISTERS = Plan().registers


def state_of(events: list[Event], rules: Rules = DEFAULT_RULES, *cuts: tuple[str, str]) -> Recomputed:
    recomputed, seen = Recomputed(), Edges()
    for said in events:
        recomputed.take(said, seen, Plan(()))
    witnessed(recomputed.kept.edges, seen)
    recomputed.kept.decisions = {("cut", a, b): Decision(True, 5, "o1") for a, b in cuts}
    recomputed.cluster(rules)
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
    assert state_hash(state_of(shuffled).state, REGISTERS) == state_hash(state_of(events).state, REGISTERS)


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
    assert state_hash(first, {}) != state_hash(second, {})


def test_the_hash_sees_what_a_live_register_holds_and_no_other() -> None:
    events = [event({"user_id": "u1"}, id=f"m{n}", name="Order Completed", properties={"total": 1000}) for n in range(3)]
    full, poor = state_of(events).state, state_of(events).state
    poor.fragments[events[0].owner].kept = {}
    assert full.fragments[events[0].owner].kept
    assert state_hash(full, REGISTERS) != state_hash(poor, REGISTERS)
    assert state_hash(full, {}) == state_hash(poor, {})


def test_a_node_that_is_alone_and_has_no_fragment_is_no_profile() -> None:
    state = State(members={"3a": ("3a",), "0a": ("0a", "5b")})
    assert state.profiles() == {"0a": ("0a", "5b")}


def test_labels_and_members_that_contradict_are_counted() -> None:
    assert torn({"5b": "0a", "0a": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert torn({"5b": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert torn({"5b": "0c"}, {"0a": ("0a", "5b")}) == 2
    assert torn({}, {"0a": ("0a", "5b")}) == 1


def test_clusters_follow_cuts_and_the_rules_that_hold() -> None:
    joint = event({"user_id": "u1", "email": "le.tan@cua-hang.vn"}, id="m1")
    a, b = pair(*joint.nodes)
    assert state_of([joint]).state.labels == {a: a, b: a}
    assert state_of([joint], DEFAULT_RULES, (a, b)).state.labels == {a: a, b: b}
    for rules in (NamespaceRules(blocked=("le.tan@cua-hang.vn",)), NamespaceRules(blocked_patterns=("^le[.]tan@",))):
        known = Rules.of(IdentityRulesSpec(namespaces={"email": rules}), secret=SECRET, country="VN")
        assert state_of([joint], known).state.labels == {a: a, b: b}
    crowd = [event({"user_id": f"u{n}", "email": "chung@cua-hang.vn"}, id=f"m{n}") for n in range(9)]
    assert len(set(state_of(crowd).state.labels.values())) == 10


def test_the_rules_are_those_of_the_definition() -> None:
    document = """{"apiVersion": "onefold/v1", "kind": "IdentityRules", "metadata": {"name": "default"},
        "spec": {"max_members": 7}}"""
    assert rules_of(Settings(), {"IdentityRules/default": decode(document.encode(), "x")}).max_members == 7
    assert rules_of(Settings(), {}) == DEFAULT_RULES


def test_a_node_without_a_label_is_its_own_profile() -> None:
    assert differing({"5b": "0a", "0a": "0a"}, {"5b": "0a"}) == 0
    assert differing({"5b": "0a"}, {"5b": "5b", "7c": "0a"}) == 2


def test_what_events_say_again_does_not_change_what_was_said() -> None:
    joint = event({"user_id": "u1", "anonymous_id": "c1"}, id="m1")
    key = pair(*joint.nodes)
    said: Edges = {key: of_event(joint, "rules-7")}
    witnessed(said, {key: of_event(joint)})
    assert said == {key: of_event(joint, "rules-7")}


@given(EVENTS)
def test_identities_say_the_same_in_labels_and_members(events: list[Event]) -> None:
    recomputed = state_of(events)
    found = identities(recomputed, Past(), 7, 99)
    living = {profile_id: entry.nodes for profile_id, entry in found.members.items() if entry.nodes}
    assert torn({node: label.profile_id for node, label in found.labels.items()}, living) == 0
    assert {(entry.version, entry.cause, entry.at_ms) for entry in found.members.values()} <= {(7, "rebuild", 99)}
    for node, entry in found.members.items():
        if entry.merged_into:
            assert found.labels[node].profile_id == entry.merged_into


@given(EVENTS)
def test_a_member_list_that_is_the_last_one_said_keeps_what_was_said_of_it(events: list[Event]) -> None:
    recomputed = state_of(events)
    first = identities(recomputed, Past(), 7, 99)
    said = {
        name: Members(entry.nodes, 7, merged_into=entry.merged_into, split_from="3e", cause="m1", at_ms=5)
        for name, entry in first.members.items()
    }
    past = Past(labels={node: label.profile_id for node, label in first.labels.items()}, profiles=said)
    second = identities(recomputed, past, 8, 100)
    assert second.members == {
        name: Members(entry.nodes, 8, entry.merged_into, entry.split_from, entry.cause, entry.at_ms) for name, entry in said.items()
    }
    assert second.unchanged == second.members.keys()


def test_a_node_that_was_labelled_once_and_is_alone_now_is_labelled_as_itself() -> None:
    joint = event({"user_id": "u1", "anonymous_id": "c1"}, id="m1")
    a, b = pair(*joint.nodes)
    found = identities(state_of([joint], DEFAULT_RULES, (a, b)), Past(labels={a: a, b: a}), 8, 100)
    assert found.labels == {a: Label(a, 8), b: Label(b, 8)}
    assert {name: entry.nodes for name, entry in found.members.items()} == {a: (a,), b: (b,)}


PLACE = Place("touched", 0, 1)


def documents_of(
    rows: Sequence[tuple[object, ...]], found: Identities, past: Past, *owners: str
) -> dict[str, memberships.Membership]:
    recomputed = Recomputed(State(fragments={owner: model.Fragment() for owner in owners}))
    held = membership_documents(rows, found, past, recomputed, {PLACE: 6})[PLACE]
    assert {(document.guard, document.offset) for document in held.values()} == {(PLACE.name, 5)}
    return {name: memberships.decode(document.data) for (_, name), document in held.items()}


MERGED = {"0a": Members(("0a", "5b"), 9), "5b": Members((), 9, merged_into="0a")}
LABELS = {node: Label("0a", 9) for node in ("0a", "5b")}


def test_memberships_of_a_profile_that_did_not_leave_yet_stay_as_they_are() -> None:
    rows = [("5b", "vip", 4, "entered", 10, "event"), ("5b", "old", 3, "exited", 9, "merge")]
    held = documents_of(rows, Identities(LABELS, MERGED, frozenset()), Past(), "0a")["5b"]
    assert (held.dissolved_into, held.held()) == ("", {"vip"})


def test_memberships_stand_for_the_version_that_they_were_evaluated_at() -> None:
    rows = [("0a", "vip", 4, "entered", 10, "event"), ("5b", "vip", 4, "exited", 10, "merge")]
    found = Identities(LABELS, MERGED, frozenset(MERGED))
    before = {name: Members(entry.nodes, 5, entry.merged_into) for name, entry in MERGED.items()}
    done = documents_of(rows, found, Past(profiles=before, evaluated={"0a": 5, "5b": 5}), "0a")
    assert (done["0a"].label_version, done["5b"].label_version) == (9, 5)
    assert (done["5b"].dissolved_into, done["5b"].held()) == ("0a", {"vip"})
    pending = documents_of(rows, found, Past(profiles=before, evaluated={"0a": 3, "5b": 5}), "0a")
    assert pending["0a"].label_version == 3
    assert pending["5b"].held_since(pending["0a"].label_version) == {"vip"}
    assert done["5b"].held_since(done["0a"].label_version) == set()


def test_a_profile_that_is_no_more_but_still_shown_is_yet_to_be_evaluated() -> None:
    vacant = {"3e": Members(("3e",), 9)}
    found = Identities(LABELS, MERGED | vacant, frozenset())
    shown = documents_of([], found, Past(shown=frozenset({"0a", "5b", "3e"})), "0a", "5b")
    assert {name: document.dissolved_into for name, document in shown.items()} == {"5b": "", "3e": ""}
    left = documents_of([("3e", "vip", 4, "exited", 10, "split")], found, Past(), "0a", "5b")
    assert (left["3e"].dissolved_into, left["3e"].formerly) == (VACANT, ("vip",))


def test_writes_are_cut_into_pieces_that_together_are_all() -> None:
    labels = {f"n{n}": Label("0a", n) for n in range(CHUNK * 2 + 1)}
    parts = list(chunks(Writes(labels=labels)))
    assert [len(part.labels) for part in parts] == [CHUNK, CHUNK, 1]
    assert {node: label for part in parts for node, label in part.labels.items()} == labels


def test_a_key_goes_to_the_place_of_its_partition() -> None:
    places = {Place("events", number, 4): 0 for number in range(4)}
    for n in range(50):
        assert place_of(places, f"n{n}").partition == partition_of(f"n{n}".encode(), 4)
