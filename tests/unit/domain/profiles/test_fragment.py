"""A fragment is a function of the set of its owner's events, and a profile of the set of its fragments."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.fragment import (
    DEDUPLICATION_LIMIT,
    Fragment,
    account_of_group_call,
    apply_event,
    decode_fragment,
    encode_fragment,
)
from domain.profiles.join import join_fragments
from domain.segments.plan import NAMESPACES_CHANGED
from schemas.events import Event
from schemas.hashes import message_hash
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
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: spent}
spec: {sum: {event: Đặt hàng, prop: total}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: totals}
spec: {unique: {event: Đặt hàng, prop: total, keep: 5}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: usual}
spec: {most_frequent: {event: Đặt hàng, prop: total, keep: 4}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: least}
spec: {min: {event: Đặt hàng, prop: total}}
"""
PLAN = segment_plan_of(load_yaml(DEFINITIONS, "test"))
OTHERS = ("cookie-a", "cookie-b")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-1, 1), st.sampled_from(["Nguyễn Thị Ánh", "Đà Nẵng", ""])
)
TOTALS = st.one_of(st.integers(90, 110), st.sampled_from([1, 1.0, True, "1", -0.0, 0, 0.1, "Huế", 10**18, None, ["x"]]))


@st.composite
def events(draw: st.DrawFn, identifiers: dict[str, str], prefix: str, times: st.SearchStrategy[int]) -> list[Event]:
    """Draw events of one owner with distinct ids."""
    actual = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["track", "identify", "page"]))
        seen_with = {"anonymous_id": draw(st.sampled_from(OTHERS))} if draw(st.booleans()) else {}
        actual.append(
            event(
                identifiers | seen_with,
                id=f"{prefix}{number}",
                type=kind,  # type: ignore[arg-type]  # one of the literals above
                name=draw(st.sampled_from(["Đặt hàng", "Product Viewed"])) if kind == "track" else "",
                time_ms=draw(times),
                properties={"total": draw(TOTALS)},
                traits={draw(st.sampled_from(["tên", "city"])): draw(VALUES)} if kind == "identify" else {},
            )
        )
    return actual


TIMES = st.one_of(st.integers(0, 3), st.integers(START_MS, START_MS + 3), st.integers(0, START_MS * 2))
HISTORIES = events({"user_id": "khách-1"}, "m", TIMES)
FEW = [events({"user_id": f"u{number}"}, prefix, st.integers(0, 5)) for number, prefix in enumerate(["m", "m", "n"])]


def folded(history: Sequence[Event], slices: random.Random | None = None) -> Fragment:
    """Return the fragment of a history; with `slices` it is now and then stored and read back, as between slices."""
    fragment = Fragment()
    for item in history:
        apply_event(fragment, item, PLAN)
        if slices is not None and slices.random() < 0.3:
            fragment = decode_fragment(encode_fragment(fragment))
    return fragment


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_any_order_and_duplication_of_an_owners_events_gives_the_same_bytes(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    wild = [*history, *rng.choices(history, k=len(history))] if history else []
    rng.shuffle(wild)
    assert encode_fragment(folded(wild, rng)) == encode_fragment(folded(history))


@given(seed=st.integers(0, 1 << 32))
def test_more_events_than_the_window_holds_give_the_same_bytes_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    history = [
        event({"user_id": "u"}, id=f"m{number}", name="Đặt hàng", time_ms=rng.randint(0, 400))
        for number in range(DEDUPLICATION_LIMIT + 40)
    ]
    shuffled = rng.sample(history, len(history))
    assert encode_fragment(folded(shuffled)) == encode_fragment(folded(history))


def test_the_window_keeps_the_newest_message_ids() -> None:
    history = [event({"user_id": "u"}, id=f"m{number}", time_ms=number) for number in range(DEDUPLICATION_LIMIT + 3)]
    fragment = folded(history)
    assert sorted(fragment.message_times.values()) == list(range(3, DEDUPLICATION_LIMIT + 3))
    assert not apply_event(fragment, history[-1], PLAN).is_new


@given(history=HISTORIES)
def test_a_fragment_survives_its_bytes(history: list[Event]) -> None:
    fragment = folded(history)
    assert decode_fragment(encode_fragment(fragment)) == fragment
    assert encode_fragment(decode_fragment(encode_fragment(fragment))) == encode_fragment(fragment)


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_every_observed_pair_is_emitted_with_its_full_time_range(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    fragment = Fragment()
    emitted_times: dict[tuple[str, str], list[int]] = {}
    for item in rng.sample(history, len(history)):
        for pair in apply_event(fragment, item, PLAN).changed_links:
            emitted_times.setdefault(pair, []).append(item.time_ms)
    truth: dict[tuple[str, str], list[int]] = {}
    for item in history:
        if len(item.nodes) == 2:
            truth.setdefault((min(item.nodes), max(item.nodes)), []).append(item.time_ms)
    assert emitted_times.keys() == truth.keys()
    for pair, times in truth.items():
        assert min(emitted_times[pair]) == min(times)
        assert max(emitted_times[pair]) // 86_400_000 == max(times) // 86_400_000


def test_known_link_is_not_emitted_again() -> None:
    fragment = Fragment()
    first = event({"user_id": "u", "anonymous_id": "c"}, id="1")
    assert len(apply_event(fragment, first, PLAN).changed_links) == 1
    assert apply_event(fragment, first, PLAN).changed_links == ()
    assert apply_event(fragment, event({"user_id": "u", "anonymous_id": "c"}, id="2"), PLAN).changed_links == ()


@given(histories=st.tuples(*FEW), seed=st.integers(0, 1 << 32))
def test_a_profile_does_not_depend_on_the_order_of_its_fragments(histories: tuple[list[Event], ...], seed: int) -> None:
    fragments = [folded(history) for history in histories]
    shuffled = random.Random(seed).sample(fragments, len(fragments))
    assert join_fragments(shuffled, PLAN.registers) == join_fragments(fragments, PLAN.registers)


@given(history=HISTORIES, seed=st.integers(0, 1 << 32))
def test_grouping_events_into_fragments_in_any_way_gives_the_same_profile(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    groups: list[list[Event]] = [[] for _ in range(4)]
    for item in history:
        rng.choice(groups).append(item)
    assert join_fragments([folded(group) for group in groups], PLAN.registers) == join_fragments([folded(history)], PLAN.registers)


@given(histories=st.tuples(*FEW))
def test_a_fragment_joined_twice_changes_nothing_but_what_counts(histories: tuple[list[Event], ...]) -> None:
    fragments = [folded(history) for history in histories]
    once, twice = join_fragments(fragments, PLAN.registers), join_fragments([*fragments, *fragments], PLAN.registers)
    assert twice.identifiers == once.identifiers
    assert twice.traits == once.traits
    assert twice.register_entries == once.register_entries
    assert twice.first_seen_ms == once.first_seen_ms
    assert twice.last_seen_ms == once.last_seen_ms


@given(history=HISTORIES)
def test_an_empty_fragment_is_neutral(history: list[Event]) -> None:
    fragment = folded(history)
    assert join_fragments([Fragment(), fragment, Fragment()], PLAN.registers) == join_fragments([fragment], PLAN.registers)


@given(history=HISTORIES)
def test_a_profile_counts_every_event_once_and_knows_its_first_and_last(history: list[Event]) -> None:
    joined = join_fragments([folded(history)], PLAN.registers)
    assert sum(joined.counters.values()) == len(history)
    assert joined.first_seen_ms == min((item.time_ms for item in history), default=0)
    assert joined.last_seen_ms == max((item.time_ms for item in history), default=0)


def identified(value: Any, *, id: str, time_ms: int, user: str = "u") -> Event:  # noqa: A002 - the field's own name
    return event({"user_id": user}, id=id, type="identify", time_ms=time_ms, traits={"tên": value})


def test_a_vietnamese_trait_survives() -> None:
    name = "Nguyễn Thị Ánh Nguyệt, số 5 đường Trần Hưng Đạo"
    fragment = decode_fragment(encode_fragment(folded([identified(name, id="1", time_ms=1)])))
    assert join_fragments([fragment], {}).traits == {"tên": name}


def test_the_latest_trait_wins_and_a_removed_one_is_gone() -> None:
    early, late = identified("A", id="1", time_ms=1), identified("B", id="2", time_ms=2)
    removed = identified(None, id="3", time_ms=3)
    assert join_fragments([folded([late, early])], {}).traits == {"tên": "B"}
    assert join_fragments([folded([late, removed, early])], {}).traits == {}


@given(values=st.tuples(VALUES, VALUES))
def test_two_owners_with_one_message_id_at_one_instant_agree_on_a_trait(values: tuple[Any, Any]) -> None:
    identifies = [identified(value, id="1", time_ms=1, user=f"u{number}") for number, value in enumerate(values)]
    assert message_hash(identifies[0].owner, "1") != message_hash(identifies[1].owner, "1")
    fragments = [folded([item]) for item in identifies]
    assert repr(join_fragments(fragments, {})) == repr(join_fragments(fragments[::-1], {}))
    latest = max(identifies, key=lambda item: message_hash(item.owner, item.id)).traits["tên"]
    assert join_fragments(fragments, {}).traits == ({} if latest is None else {"tên": latest})


def test_unused_register_is_dropped() -> None:
    fragment = folded([event({"user_id": "u"}, id="1", name="Đặt hàng", properties={"total": 90})])
    assert fragment.register_entries
    assert fragment.tallies
    assert join_fragments([fragment], {}).register_entries == {}
    assert join_fragments([fragment], {}).tallies == {}


def test_calls_are_counted_by_their_kind_and_tracks_by_their_name() -> None:
    assert event({"user_id": "u"}, id="1", name="Đặt hàng").label == "Đặt hàng"
    assert event({"user_id": "u"}, id="1", type="page", name="Home").label == "$page"


def test_bot_event_feeds_no_counter_or_register_but_is_deduplicated() -> None:
    fragment = Fragment()
    bot = event({"user_id": "u"}, id="1", type="identify", traits={"tên": "Ánh"}, flags=("bot",))
    assert apply_event(fragment, bot, PLAN).is_new
    assert not apply_event(fragment, bot, PLAN).is_new
    apply_event(fragment, event({"user_id": "u"}, id="2", name="Đặt hàng", properties={"total": 90}, flags=("bot",)), PLAN)
    assert fragment.counters == {}
    assert fragment.register_entries == {}
    assert fragment.tallies == {}
    assert fragment.first_ms == 0
    assert fragment.last_ms == 0
    assert fragment.identifiers
    assert fragment.traits["tên"].value == "Ánh"
    apply_event(fragment, event({"user_id": "u"}, id="3", name="Đặt hàng"), PLAN)
    assert fragment.counters == {"Đặt hàng": 1}
    assert fragment.register_entries


@pytest.mark.parametrize(
    ("group", "account"),
    [
        ("cty-1", "cty-1"),
        ('="007"', "007"),
        ("12.0", "12"),
        (" cty\u200b-1", "cty-1"),
        ("#N/A", None),
        ("Khách lẻ", None),
        (7, None),
    ],
)
def test_an_account_has_one_spelling(group: object, account: str | None) -> None:
    call = event({"user_id": "u"}, id="1", type="group", properties={"groupId": group})
    assert account_of_group_call(call) == account


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"name": "Đặt hàng"}, {NAMESPACES_CHANGED, "Đặt hàng"}),
        ({"type": "page"}, {NAMESPACES_CHANGED, "$page"}),
        (
            {"type": "identify", "traits": {"tên": "Ánh", "city": None}},
            {NAMESPACES_CHANGED, "$identify", "*trait tên", "*trait city"},
        ),
        ({"type": "identify", "traits": {"tên": "Ánh"}, "flags": ("bot",)}, {NAMESPACES_CHANGED, "*trait tên"}),
        ({"type": "group", "properties": {"groupId": "a"}, "traits": {"plan": "x"}}, {NAMESPACES_CHANGED, "$group"}),
        ({"name": "Đặt hàng", "flags": ("bot",)}, {NAMESPACES_CHANGED}),
    ],
)
def test_applying_an_event_returns_its_changes(fields: dict[str, Any], changed: set[str]) -> None:
    fragment = Fragment()
    first = event({"user_id": "u"}, id="1", **fields)
    assert apply_event(fragment, first, PLAN).changes == changed
    assert apply_event(fragment, event({"user_id": "u"}, id="2", **fields), PLAN).changes == changed - {NAMESPACES_CHANGED}
    assert apply_event(fragment, first, PLAN).changes == frozenset()
