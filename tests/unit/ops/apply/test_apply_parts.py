"""Seeds, writing beside shut-out writers, what is said of a removal, instants of a preview."""

import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ops import definitions_topic as definitions
from ops.apply import render as say
from ops.apply.baseline import Tally
from ops.apply.paused_partitions import Frozen
from ops.segments.preview import chosen, instant
from ops.progress import shown
from ops.apply.removal import Removal, named_by
from ops.apply.register_seeds import Seeds
from ops.apply.preview import Planned, Size
from ops.apply.backfill import Applied
from ops.prepare import create_topics
from domain.profiles import fragment as model
from profile_store.memory import MemoryStore
from profile_store.port import Document, Place, Writes
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.hashes import message_hash
from domain.segments.register_bounds import bounds
from domain.definitions.kinds import SegmentList, load_yaml
from domain.segments.plan import Plan
from tests.support.transitions import destination
from tests.support.segments import computed, happened, listed, segment

SETTINGS = Settings()
PLAN = Plan(
    [
        segment("often", {"did": {"event": "Bought", "at_least": 3, "within": "1d"}}),
        computed("spent", {"sum": {"event": "Bought", "prop": "total"}}),
        computed("favourite", {"most_frequent": {"event": "Bought", "prop": "brand", "keep": 2}}),
    ]
)
EVENTS = [
    happened("Bought", 1_750_000_000_000 + n * 7_000_000, {"total": n, "brand": f"nhãn {n % 5}"}, id=f"m{n}") for n in range(30)
]


def from_the_start() -> model.Fragment:
    fragment = model.Fragment()
    for one in EVENTS:
        model.apply(fragment, one, PLAN)
    return fragment


@given(st.randoms(use_true_random=False), st.integers(0, 30))
def test_a_seed_is_what_would_be_there_in_any_order_and_wherever_it_is_cut(rng: random.Random, cut: int) -> None:
    expected, seeds = from_the_start(), Seeds(PLAN.registers)
    early, late = EVENTS[:cut], list(enumerate(EVENTS))[cut:]
    rng.shuffle(early)
    for one in early:
        seeds.take(one)
    for offset, one in late:
        seeds.postpone(offset, one)
    fragment = model.Fragment()
    for one in EVENTS:
        model.apply(fragment, one, Plan(()))
    fragment.kept |= {key: [(1, "of an earlier life", None)] for key in list(PLAN.registers)[:2]}
    assert set(seeds.owners) == {EVENTS[0].owner}
    seeds.plant(EVENTS[0].owner, fragment, applied=29)
    assert model.encode(fragment) == model.encode(expected)


def test_what_an_owner_has_not_applied_is_not_seeded() -> None:
    seeds = Seeds(PLAN.registers)
    for offset, one in enumerate(EVENTS):
        seeds.postpone(offset, one)
    fragment = model.Fragment()
    seeds.plant(EVENTS[0].owner, fragment, applied=9)
    for one in EVENTS[10:]:
        model.feed(fragment, one, message_hash(one.owner, one.id), PLAN)
    expected = from_the_start()
    assert (fragment.kept, fragment.tallies) == (expected.kept, expected.tallies)


def test_what_is_stale_and_has_no_seed_goes() -> None:
    fragment = from_the_start()
    Seeds(PLAN.registers).plant(EVENTS[0].owner, fragment, applied=0)
    assert (fragment.kept, fragment.tallies) == ({}, {})


@pytest.mark.parametrize("offset", [3, 9, 12])
async def test_a_document_is_written_whatever_it_was_written_at_and_refuses_what_comes_again(offset: int) -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    frozen = await Frozen.freeze(SETTINGS, bus, store)
    place = frozen.place_of("events", "owner")
    held = Document(b"before", place.name, offset)
    await store.save(place, None, 10, Writes(documents={("fragment", "owner"): held}))
    frozen = await Frozen.freeze(SETTINGS, bus, store)
    for data in (b"after", b"once more"):
        before = (await store.documents("fragment", ["owner"]))["owner"]
        await frozen.put(place, {("fragment", "owner"): (data, before)})
        written = (await store.documents("fragment", ["owner"]))["owner"]
        assert (written.data, written.applied(place)) == (data, max(offset, 9))
    assert (await store.standing(place)).position == 10


async def test_a_place_that_was_never_written_stands_at_the_beginning() -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    frozen = await Frozen.freeze(SETTINGS, bus, store)
    place = frozen.place_of("touched", "p")
    await frozen.put(place, {("membership", "p"): (b"data", Document())})
    await frozen.put(place, {("membership", "q"): (b"data", Document())})
    assert (await store.documents("membership", ["p"]))["p"].applied(place) == -1
    assert (await store.standing(Place("touched", place.partition, place.partitions))).position == 0


VIP = segment("vip", {"trait": {"path": "computed.spent", "op": "gte", "value": 1}})
NESTED = segment("nested", {"not": {"any": [{"in_segment": "vip"}, {"list": "staff"}]}})
KNOWN = {one.key: one for one in (VIP, NESTED, listed("staff", []), computed("spent", {"count": {"event": "Bought"}}))}


@pytest.mark.parametrize(
    ("key", "by"),
    [
        ("Segment/vip", ["Destination/hook", "Segment/nested"]),
        ("List/staff", ["Segment/nested"]),
        ("ComputedTrait/spent", ["Segment/vip"]),
        ("Segment/nested", []),
        ("Destination/hook", []),
    ],
)
def test_a_definition_is_named_by_those_that_need_it(key: str, by: list[str]) -> None:
    assert named_by(key, {**KNOWN, "Destination/hook": destination()}) == by


def test_a_shipped_trait_is_there_without_its_definition() -> None:
    own = computed("lifecycle", {"lifecycle": {"at_risk_after": "10d", "lost_after": "20d"}})
    lost = segment("lost", {"lifecycle": {"stage": ["lost"]}})
    assert named_by(own.key, {own.key: own, lost.key: lost}) == []


async def test_what_is_named_or_not_there_is_not_removed() -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    await definitions.write(SETTINGS, bus, KNOWN.values())
    removal = Removal(SETTINGS, bus, store, ManualClock())
    with pytest.raises(Invalid, match="named by Segment/nested"):
        await removal.remove("Segment/vip")
    with pytest.raises(Invalid, match="there are Segment/nested, Segment/vip"):
        await removal.remove("Segment/vop")
    with pytest.raises(Invalid, match="KIND/NAME"):
        await removal.remove("vip")
    assert set(await definitions.live(SETTINGS, bus)) == set(KNOWN)


async def test_a_list_is_written_without_its_values() -> None:
    bus = MemoryBus()
    await create_topics(SETTINGS, bus)
    text = "apiVersion: onefold/v1\nkind: List\nmetadata: {name: staff}\nspec: {namespace: email, values: [an@shop.vn]}\n"
    assert await definitions.write(SETTINGS, bus, load_yaml(text, "test")) == 1
    held = (await definitions.live(SETTINGS, bus))["List/staff"]
    assert isinstance(held, SegmentList)
    assert (held.spec.values, len(held.spec.nodes)) == ((), 1)


def test_an_instant_is_read_with_its_zone_or_as_utc() -> None:
    assert instant("") is None
    assert instant("2026-01-31T09:00:00+07:00") == instant("2026-01-31T02:00:00") == 1_769_824_800_000
    with pytest.raises(Invalid, match="--at"):
        instant("hôm qua")


def test_a_preview_is_of_a_live_segment_or_of_those_of_a_file() -> None:
    assert chosen("vip", KNOWN, {})[1] == ["vip"]
    new = segment("new", {"in_segment": "vip"})
    assert chosen("new.yaml", KNOWN, {new.key: new})[1] == ["new"]
    with pytest.raises(Invalid, match="no segment is called"):
        chosen("vop", KNOWN, {})
    with pytest.raises(Invalid, match="defines no segment"):
        chosen("spent.yaml", KNOWN, {"ComputedTrait/spent": KNOWN["ComputedTrait/spent"]})


def test_what_would_be_done_and_what_was_done_is_shown() -> None:
    sizes = (Size("vip", 1, 13, 12, 0, tuple(f"{n:032x}" for n in range(10))), Size("nested", 0, 0, 0, 0))
    found = Planned({"Segment/vip": "create"}, sizes, tuple(bounds(Plan([VIP, NESTED, KNOWN["ComputedTrait/spent"]]))))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(say.planned(found))
    console.print(say.applied(found.changes, Applied(("Segment/vip",), 1, 9, 5, {"vip": Tally(1, 13, 12, 0)}, 1.84, 7)))
    text = console.export_text()
    for word in (
        "create",
        "vip: would enter 0",
        "13",
        "exact while",
        "together",
        "agents waited 1.8 s",
        "7 profiles looked at again",
    ):
        assert word in text
    shaped = say.shape_planned(found)
    assert json.loads(json.dumps(shaped)) == shaped
    assert shaped["segments"][0]["sample"] == list(sizes[0].sample)


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as report:
        for done in (500, 1_000, 1_500):
            report("events folded", done, 1_200)
        report("profiles seeded", 10, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["events folded: 500 of 1,200", "events folded: 1,500 of 1,500", "profiles seeded: 10 of 10"]
