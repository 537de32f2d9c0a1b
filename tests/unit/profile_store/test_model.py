"""A fragment is a function of the set of its owner's events, and a profile of the set of its fragments."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profile_store.model import SEEN_LIMIT, Fragment, apply, decode, encode, event_label, join
from schemas.events import Event
from segments.definitions import Segment, load_yaml
from segments.plan import Plan
from tests.support.events import START_MS, event

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Đặt hàng, at_least: 3, within: 1h}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: big-spenders}
spec: {where: {did: {event: Đặt hàng, where: [{prop: total, op: gt, value: 100}], at_least: 2}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: readers}
spec: {where: {did: {event: $page}}}
"""
PLAN = Plan(document for document in load_yaml(DEFINITIONS, "test") if isinstance(document, Segment))
OTHERS = ("cookie-a", "cookie-b")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-1, 1), st.sampled_from(["Nguyễn Thị Ánh", "Đà Nẵng", ""])
)


@st.composite
def events(draw: st.DrawFn, identifiers: dict[str, str], prefix: str, times: st.SearchStrategy[int]) -> list[Event]:
    """Events of one owner with distinct ids."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["track", "identify", "page"]))
        seen_with = {"anonymous_id": draw(st.sampled_from(OTHERS))} if draw(st.booleans()) else {}
        found.append(
            event(
                identifiers | seen_with,
                id=f"{prefix}{number}",
                type=kind,  # type: ignore[arg-type]  # one of the literals above
                name=draw(st.sampled_from(["Đặt hàng", "Product Viewed"])) if kind == "track" else "",
                time_ms=draw(times),
                properties={"total": draw(st.integers(90, 110))},
                traits={draw(st.sampled_from(["tên", "city"])): draw(VALUES)} if kind == "identify" else {},
            )
        )
    return found


TIMES = st.one_of(st.integers(0, 3), st.integers(START_MS, START_MS + 3), st.integers(0, START_MS * 2))
HISTORIES = events({"user_id": "khách-1"}, "m", TIMES)
FEW = [events({"user_id": f"u{number}"}, prefix, st.integers(0, 5)) for number, prefix in enumerate(["m", "m", "n"])]


def folded(history: Sequence[Event], slices: random.Random | None = None) -> Fragment:
    """The fragment of a history; now and then stored and read back, as between slices."""
    fragment = Fragment()
    for item in history:
        apply(fragment, item, PLAN)
        if slices is not None and slices.random() < 0.3:
            fragment = decode(encode(fragment))
    return fragment


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_any_order_and_duplication_of_an_owners_events_gives_the_same_bytes(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    wild = [*history, *rng.choices(history, k=len(history))] if history else []
    rng.shuffle(wild)
    assert encode(folded(wild, rng)) == encode(folded(history))


@given(seed=st.integers(0, 1 << 32))
def test_more_events_than_the_window_holds_give_the_same_bytes_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    history = [
        event({"user_id": "u"}, id=f"m{number}", name="Đặt hàng", time_ms=rng.randint(0, 400)) for number in range(SEEN_LIMIT + 40)
    ]
    shuffled = rng.sample(history, len(history))
    assert encode(folded(shuffled)) == encode(folded(history))


def test_the_window_keeps_the_newest_message_ids() -> None:
    history = [event({"user_id": "u"}, id=f"m{number}", time_ms=number) for number in range(SEEN_LIMIT + 3)]
    fragment = folded(history)
    assert sorted(fragment.seen.values()) == list(range(3, SEEN_LIMIT + 3))
    assert not apply(fragment, history[-1], PLAN).fresh


@given(history=HISTORIES)
def test_a_fragment_survives_its_bytes(history: list[Event]) -> None:
    fragment = folded(history)
    assert decode(encode(fragment)) == fragment
    assert encode(decode(encode(fragment))) == encode(fragment)


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_every_pair_seen_together_is_said_with_its_whole_time_range(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    fragment = Fragment()
    said: dict[tuple[str, str], list[int]] = {}
    for item in rng.sample(history, len(history)):
        for pair in apply(fragment, item, PLAN).links:
            said.setdefault(pair, []).append(item.time_ms)
    truth: dict[tuple[str, str], list[int]] = {}
    for item in history:
        if len(item.nodes) == 2:
            truth.setdefault((min(item.nodes), max(item.nodes)), []).append(item.time_ms)
    assert said.keys() == truth.keys()
    for pair, times in truth.items():
        assert min(said[pair]) == min(times)
        assert max(said[pair]) // 86_400_000 == max(times) // 86_400_000


def test_a_link_already_known_is_not_said_again() -> None:
    fragment = Fragment()
    first = event({"user_id": "u", "anonymous_id": "c"}, id="1")
    assert len(apply(fragment, first, PLAN).links) == 1
    assert apply(fragment, first, PLAN).links == ()
    assert apply(fragment, event({"user_id": "u", "anonymous_id": "c"}, id="2"), PLAN).links == ()


@given(histories=st.tuples(*FEW), seed=st.integers(0, 1 << 32))
def test_a_profile_does_not_depend_on_the_order_of_its_fragments(histories: tuple[list[Event], ...], seed: int) -> None:
    fragments = [folded(history) for history in histories]
    shuffled = random.Random(seed).sample(fragments, len(fragments))
    assert join(shuffled, PLAN.limits) == join(fragments, PLAN.limits)


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_grouping_events_into_fragments_in_any_way_gives_the_same_profile(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    groups: list[list[Event]] = [[] for _ in range(4)]
    for item in history:
        rng.choice(groups).append(item)
    assert join([folded(group) for group in groups], PLAN.limits) == join([folded(history)], PLAN.limits)


@given(histories=st.tuples(*FEW))
def test_a_fragment_joined_twice_changes_nothing_but_counters(histories: tuple[list[Event], ...]) -> None:
    fragments = [folded(history) for history in histories]
    once, twice = join(fragments, PLAN.limits), join([*fragments, *fragments], PLAN.limits)
    assert (twice.identifiers, twice.traits, twice.leaves) == (once.identifiers, once.traits, once.leaves)
    assert (twice.first_seen_ms, twice.last_seen_ms) == (once.first_seen_ms, once.last_seen_ms)


@given(history=HISTORIES)
def test_an_empty_fragment_is_neutral(history: list[Event]) -> None:
    fragment = folded(history)
    assert join([Fragment(), fragment, Fragment()], PLAN.limits) == join([fragment], PLAN.limits)


@given(history=HISTORIES)
def test_a_profile_counts_every_event_once_and_knows_its_first_and_last(history: list[Event]) -> None:
    joined = join([folded(history)], PLAN.limits)
    assert sum(joined.counters.values()) == len(history)
    assert joined.first_seen_ms == min((item.time_ms for item in history), default=0)
    assert joined.last_seen_ms == max((item.time_ms for item in history), default=0)


def identified(value: Any, *, id: str, time_ms: int) -> Event:  # noqa: A002 - the field's own name
    return event({"user_id": "u"}, id=id, type="identify", time_ms=time_ms, traits={"tên": value})


def test_a_vietnamese_trait_survives() -> None:
    name = "Nguyễn Thị Ánh Nguyệt, số 5 đường Trần Hưng Đạo"
    fragment = decode(encode(folded([identified(name, id="1", time_ms=1)])))
    assert join([fragment], {}).traits == {"tên": name}


def test_the_latest_trait_wins_and_a_removed_one_is_gone() -> None:
    early, late = identified("A", id="1", time_ms=1), identified("B", id="2", time_ms=2)
    removed = identified(None, id="3", time_ms=3)
    assert join([folded([late, early])], {}).traits == {"tên": "B"}
    assert join([folded([late, removed, early])], {}).traits == {}


@given(values=st.tuples(VALUES, VALUES))
def test_two_owners_with_one_message_id_at_one_instant_agree_on_a_trait(values: tuple[Any, Any]) -> None:
    fragments = [folded([identified(value, id="1", time_ms=1)]) for value in values]
    assert repr(join(fragments, {})) == repr(join(fragments[::-1], {}))


def test_a_leaf_that_no_segment_asks_for_any_more_is_left_out() -> None:
    fragment = folded([event({"user_id": "u"}, id="1", name="Đặt hàng")])
    assert fragment.leaves
    assert join([fragment], {}).leaves == {}


def test_calls_are_counted_by_their_kind_and_tracks_by_their_name() -> None:
    assert event_label(event({"user_id": "u"}, id="1", name="Đặt hàng")) == "Đặt hàng"
    assert event_label(event({"user_id": "u"}, id="1", type="page", name="Home")) == "$page"


def test_what_a_program_did_feeds_no_counter_and_no_leaf_but_is_known() -> None:
    fragment = Fragment()
    bot = event({"user_id": "u"}, id="1", type="identify", traits={"tên": "Ánh"}, flags=("bot",))
    assert apply(fragment, bot, Plan(())).fresh
    assert not apply(fragment, bot, Plan(())).fresh
    assert (fragment.counters, fragment.leaves, fragment.first_ms, fragment.last_ms) == ({}, {}, 0, 0)
    assert fragment.identifiers
    assert fragment.traits["tên"].value == "Ánh"
    apply(fragment, event({"user_id": "u"}, id="2", name="Viewed"), Plan(()))
    assert fragment.counters == {"Viewed": 1}
