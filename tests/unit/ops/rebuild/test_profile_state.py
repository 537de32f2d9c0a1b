"""The state hash, and what a refilled store is made of."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import decode_definition
from domain.identity.evidence import edge_of_event
from domain.identity.model import Decision, Edges, Label, Members, ordered_pair
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec, NamespaceRules
from domain.identity.state import merge_event_evidence
from domain.profiles.fragment import Fragment
from domain.profiles.membership import DISSOLVED_INTO_MANY, Membership, decode_membership
from domain.profiles.state import (
    ProfileState,
    RecomputedState,
    count_contradictions,
    count_differing_labels,
    state_hash,
)
from domain.segments.plan import SegmentPlan
from ops import definitions_topic
from ops.rebuild.refill import (
    CHUNK,
    ProfileHistory,
    RebuiltIdentities,
    membership_documents,
    rebuild_identities,
    split_writes,
    topic_partition_of,
)
from profile_store.port import TopicPartition, Writes
from runtime.bus.partitioner import partition_of
from runtime.settings import Settings
from schemas.events import Event
from tests.support.events import SECRET, START_MS, event

REGISTERS = SegmentPlan().registers


def state_of(events: list[Event], rules: CompiledIdentityRules = DEFAULT_RULES, *cuts: tuple[str, str]) -> RecomputedState:
    recomputed, witnessed_edges = RecomputedState(), Edges()
    for stored_event in events:
        recomputed.apply_event(stored_event, witnessed_edges, SegmentPlan(), SECRET)
    merge_event_evidence(recomputed.identity.edges, witnessed_edges)
    recomputed.identity.decisions = {("cut", a, b): Decision(True, 5, "o1") for a, b in cuts}
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
    poor.fragments[events[0].owner].register_entries = {}
    assert full.fragments[events[0].owner].register_entries
    assert state_hash(full, REGISTERS) != state_hash(poor, REGISTERS)
    assert state_hash(full, {}) == state_hash(poor, {})


def test_events_that_nobody_owns_change_no_profile() -> None:
    calls = [event({}, id=f"c{n}", type="call_started", properties={"call_id": f"c{n}"}) for n in range(3)]
    known = [event({"user_id": "u1", "email": "lan@shop.vn"}, id="m1", name="Order Completed")]
    with_calls = state_of([*calls, *known])
    assert with_calls.events == 4
    assert state_hash(with_calls.state, REGISTERS) == state_hash(state_of(known).state, REGISTERS)


def test_a_node_that_is_alone_and_has_no_fragment_is_no_profile() -> None:
    state = ProfileState(members={"3a": ("3a",), "0a": ("0a", "5b")})
    assert state.profiles() == {"0a": ("0a", "5b")}


def test_labels_and_members_that_contradict_are_counted() -> None:
    assert count_contradictions({"5b": "0a", "0a": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert count_contradictions({"5b": "0a"}, {"0a": ("0a", "5b")}) == 0
    assert count_contradictions({"5b": "0c"}, {"0a": ("0a", "5b")}) == 2
    assert count_contradictions({}, {"0a": ("0a", "5b")}) == 1


def test_clusters_follow_cuts_and_the_rules_that_hold() -> None:
    joint = event({"user_id": "u1", "email": "le.tan@cua-hang.vn"}, id="m1")
    a, b = ordered_pair(*joint.nodes)
    assert state_of([joint]).state.labels == {a: a, b: a}
    assert state_of([joint], DEFAULT_RULES, (a, b)).state.labels == {a: a, b: b}
    for rules in (NamespaceRules(blocked=("le.tan@cua-hang.vn",)), NamespaceRules(blocked_patterns=("^le[.]tan@",))):
        compiled = CompiledIdentityRules.from_spec(IdentityRulesSpec(namespaces={"email": rules}), secret=SECRET, country="VN")
        assert state_of([joint], compiled).state.labels == {a: a, b: b}
    crowd = [event({"user_id": f"u{n}", "email": "chung@cua-hang.vn"}, id=f"m{n}") for n in range(9)]
    assert len(set(state_of(crowd).state.labels.values())) == 10


def test_the_rules_are_those_of_the_definition() -> None:
    document = """{"apiVersion": "onefold/v1", "kind": "IdentityRules", "metadata": {"name": "default"},
        "spec": {"max_members": 7}}"""
    assert (
        definitions_topic.identity_rules_of(
            Settings(), {"IdentityRules/default": decode_definition(document.encode(), "x")}
        ).max_members
        == 7
    )
    assert definitions_topic.identity_rules_of(Settings(), {}) == DEFAULT_RULES


def test_a_node_without_a_label_is_its_own_profile() -> None:
    assert count_differing_labels({"5b": "0a", "0a": "0a"}, {"5b": "0a"}) == 0
    assert count_differing_labels({"5b": "0a"}, {"5b": "5b", "7c": "0a"}) == 2


def test_repeated_evidence_does_not_change_contributions() -> None:
    joint = event({"user_id": "u1", "anonymous_id": "c1"}, id="m1")
    key = ordered_pair(*joint.nodes)
    published: Edges = {key: edge_of_event(joint, "together", "rules-7")}
    merge_event_evidence(published, {key: edge_of_event(joint, "together")})
    assert published == {key: edge_of_event(joint, "together", "rules-7")}


@given(EVENTS)
def test_identities_agree_between_labels_and_members(events: list[Event]) -> None:
    recomputed = state_of(events)
    rebuilt = rebuild_identities(recomputed, ProfileHistory(), 7, 99)
    living = {profile_id: entry.nodes for profile_id, entry in rebuilt.members.items() if entry.nodes}
    assert count_contradictions({node: label.profile_id for node, label in rebuilt.labels.items()}, living) == 0
    assert {(entry.version, entry.cause, entry.at_ms) for entry in rebuilt.members.values()} <= {(7, "rebuild", 99)}
    for node, entry in rebuilt.members.items():
        if entry.merged_into:
            assert rebuilt.labels[node].profile_id == entry.merged_into


@given(EVENTS)
def test_unchanged_member_list_keeps_its_published_version(events: list[Event]) -> None:
    recomputed = state_of(events)
    first = rebuild_identities(recomputed, ProfileHistory(), 7, 99)
    published = {
        name: Members(entry.nodes, 7, merged_into=entry.merged_into, split_from="3e", cause="m1", at_ms=5)
        for name, entry in first.members.items()
    }
    past = ProfileHistory(labels={node: label.profile_id for node, label in first.labels.items()}, profiles=published)
    second = rebuild_identities(recomputed, past, 8, 100)
    assert second.members == {
        name: Members(entry.nodes, 8, entry.merged_into, entry.split_from, entry.cause, entry.at_ms)
        for name, entry in published.items()
    }
    assert second.unchanged == second.members.keys()


def test_a_node_that_was_labelled_once_and_is_alone_now_is_labelled_as_itself() -> None:
    joint = event({"user_id": "u1", "anonymous_id": "c1"}, id="m1")
    a, b = ordered_pair(*joint.nodes)
    rebuilt = rebuild_identities(state_of([joint], DEFAULT_RULES, (a, b)), ProfileHistory(labels={a: a, b: a}), 8, 100)
    assert rebuilt.labels == {a: Label(a, 8), b: Label(b, 8)}
    assert {name: entry.nodes for name, entry in rebuilt.members.items()} == {a: (a,), b: (b,)}


PLACE = TopicPartition("touched", 0, 1)


def documents_of(
    rows: Sequence[tuple[object, ...]], rebuilt: RebuiltIdentities, past: ProfileHistory, *owners: str
) -> dict[str, Membership]:
    recomputed = RecomputedState(ProfileState(fragments={owner: Fragment() for owner in owners}))
    documents = membership_documents(rows, rebuilt, past, recomputed, {PLACE: 6})[PLACE]
    assert {(document.guard, document.offset) for document in documents.values()} == {(PLACE.guard_name, 5)}
    return {name: decode_membership(document.data) for (_, name), document in documents.items()}


MERGED = {"0a": Members(("0a", "5b"), 9), "5b": Members((), 9, merged_into="0a")}
LABELS = {node: Label("0a", 9) for node in ("0a", "5b")}


def test_memberships_of_a_profile_that_did_not_leave_yet_stay_as_they_are() -> None:
    rows = [("5b", "vip", 4, "entered", 10, "event"), ("5b", "old", 3, "exited", 9, "merge")]
    membership = documents_of(rows, RebuiltIdentities(LABELS, MERGED, frozenset()), ProfileHistory(), "0a")["5b"]
    assert membership.dissolved_into == ""
    assert membership.active_segments() == {"vip"}


def test_memberships_stand_for_the_version_that_they_were_evaluated_at() -> None:
    rows = [("0a", "vip", 4, "entered", 10, "event"), ("5b", "vip", 4, "exited", 10, "merge")]
    rebuilt = RebuiltIdentities(LABELS, MERGED, frozenset(MERGED))
    before = {name: Members(entry.nodes, 5, entry.merged_into) for name, entry in MERGED.items()}
    evaluated = documents_of(rows, rebuilt, ProfileHistory(profiles=before, evaluated={"0a": 5, "5b": 5}), "0a")
    assert evaluated["0a"].label_version == 9
    assert evaluated["5b"].label_version == 5
    assert evaluated["5b"].dissolved_into == "0a"
    assert evaluated["5b"].active_segments() == {"vip"}
    pending = documents_of(rows, rebuilt, ProfileHistory(profiles=before, evaluated={"0a": 3, "5b": 5}), "0a")
    assert pending["0a"].label_version == 3
    assert pending["5b"].segments_inherited_by_merge(pending["0a"].label_version) == {"vip"}
    assert evaluated["5b"].segments_inherited_by_merge(evaluated["0a"].label_version) == set()


def test_dissolved_profile_still_shown_is_scheduled_for_evaluation() -> None:
    vacant = {"3e": Members(("3e",), 9)}
    rebuilt = RebuiltIdentities(LABELS, MERGED | vacant, frozenset())
    shown = documents_of([], rebuilt, ProfileHistory(shown=frozenset({"0a", "5b", "3e"})), "0a", "5b")
    assert {name: document.dissolved_into for name, document in shown.items()} == {"5b": "", "3e": ""}
    dissolved = documents_of([("3e", "vip", 4, "exited", 10, "split")], rebuilt, ProfileHistory(), "0a", "5b")
    assert dissolved["3e"].dissolved_into == DISSOLVED_INTO_MANY
    assert dissolved["3e"].previous_segments == ("vip",)


def test_writes_are_cut_into_pieces_that_together_are_all() -> None:
    labels = {f"n{n}": Label("0a", n) for n in range(CHUNK * 2 + 1)}
    parts = list(split_writes(Writes(labels=labels)))
    assert [len(part.labels) for part in parts] == [CHUNK, CHUNK, 1]
    assert {node: label for part in parts for node, label in part.labels.items()} == labels


def test_key_maps_to_its_topic_partition() -> None:
    places = {TopicPartition("events", number, 4): 0 for number in range(4)}
    for n in range(50):
        assert topic_partition_of(places, f"n{n}").partition == partition_of(f"n{n}".encode(), 4)
