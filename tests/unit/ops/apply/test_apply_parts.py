"""Parts of `apply`: seeds, writes while writers are fenced, what a removal prints, and the instants of a preview."""

import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from domain.definitions.kinds import SegmentList, load_yaml
from domain.definitions.references import referencing_keys
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.baseline import SegmentTally
from domain.profiles.fragment import Fragment, apply_event, encode_fragment, feed_registers
from domain.profiles.register_seeds import RegisterSeeds
from domain.segments.plan import SegmentPlan
from domain.segments.register_bounds import register_bounds
from ops import definitions_topic
from ops.apply.backfill import ApplyResult
from ops.apply.paused_partitions import PausedPartitions
from ops.apply.preview import ApplyPreview, SegmentSize
from ops.apply.removal import DefinitionRemoval
from ops.apply.to_json import planned_to_json
from ops.cli import apply_answers
from ops.cli.progress import progress_on_stderr
from ops.prepare import create_topics
from ops.segments.preview import parse_instant, plan_with_file
from profile_store.memory import MemoryStore
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.hashes import message_hash
from tests.support.segments import computed, customer_event, list_definition, segment
from tests.support.transitions import destination

SETTINGS = Settings()
PLAN = segment_plan_of(
    [
        segment("often", {"did": {"event": "Bought", "at_least": 3, "within": "1d"}}),
        computed("spent", {"sum": {"event": "Bought", "prop": "total"}}),
        computed("favourite", {"most_frequent": {"event": "Bought", "prop": "brand", "keep": 2}}),
    ]
)
EVENTS = [
    customer_event("Bought", 1_750_000_000_000 + n * 7_000_000, {"total": n, "brand": f"nhãn {n % 5}"}, id=f"m{n}")
    for n in range(30)
]


def from_the_start() -> Fragment:
    fragment = Fragment()
    for past_event in EVENTS:
        apply_event(fragment, past_event, PLAN)
    return fragment


@given(st.randoms(use_true_random=False), st.integers(0, 30))
def test_a_seed_is_what_would_be_there_in_any_order_and_wherever_it_is_cut(rng: random.Random, cut: int) -> None:
    expected, seeds = from_the_start(), RegisterSeeds(PLAN.registers)
    early, late = EVENTS[:cut], list(enumerate(EVENTS))[cut:]
    rng.shuffle(early)
    for past_event in early:
        seeds.fold(past_event)
    for offset, past_event in late:
        seeds.postpone(offset, past_event)
    fragment = Fragment()
    for past_event in EVENTS:
        apply_event(fragment, past_event, SegmentPlan())
    fragment.register_entries |= {key: [(1, "of an earlier life", None)] for key in list(PLAN.registers)[:2]}
    assert set(seeds.owners) == {EVENTS[0].owner}
    seeds.apply_to(EVENTS[0].owner, fragment, applied_offset=29)
    assert encode_fragment(fragment) == encode_fragment(expected)


def test_events_not_yet_applied_by_an_owner_are_not_seeded() -> None:
    seeds = RegisterSeeds(PLAN.registers)
    for offset, past_event in enumerate(EVENTS):
        seeds.postpone(offset, past_event)
    fragment = Fragment()
    seeds.apply_to(EVENTS[0].owner, fragment, applied_offset=9)
    for past_event in EVENTS[10:]:
        feed_registers(fragment, past_event, message_hash(past_event.owner, past_event.id), PLAN)
    expected = from_the_start()
    assert fragment.register_entries == expected.register_entries
    assert fragment.tallies == expected.tallies


def test_stale_register_without_a_seed_is_removed() -> None:
    fragment = from_the_start()
    RegisterSeeds(PLAN.registers).apply_to(EVENTS[0].owner, fragment, applied_offset=0)
    assert fragment.register_entries == {}
    assert fragment.tallies == {}


@pytest.mark.parametrize("offset", [3, 9, 12])
async def test_a_document_is_written_whatever_it_was_written_at_and_refuses_what_comes_again(offset: int) -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    paused = await PausedPartitions.fence(SETTINGS, bus, store)
    topic_partition = paused.topic_partition_of("events", "owner")
    stored_document = GuardedDocument(b"before", topic_partition.guard_name, offset)
    await store.save(topic_partition, None, 10, Writes(documents={("fragment", "owner"): stored_document}))
    paused = await PausedPartitions.fence(SETTINGS, bus, store)
    for data in (b"after", b"once more"):
        before = (await store.documents("fragment", ["owner"]))["owner"]
        await paused.write_documents(topic_partition, {("fragment", "owner"): (data, before)})
        written = (await store.documents("fragment", ["owner"]))["owner"]
        assert written.data == data
        assert written.applied_offset(topic_partition) == max(offset, 9)
    assert (await store.checkpoint(topic_partition)).position == 10


async def test_unwritten_topic_partition_starts_at_offset_zero() -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    frozen = await PausedPartitions.fence(SETTINGS, bus, store)
    place = frozen.topic_partition_of("touched", "p")
    await frozen.write_documents(place, {("membership", "p"): (b"data", GuardedDocument())})
    await frozen.write_documents(place, {("membership", "q"): (b"data", GuardedDocument())})
    assert (await store.documents("membership", ["p"]))["p"].applied_offset(place) == -1
    assert (await store.checkpoint(TopicPartition("touched", place.partition, place.partition_count))).position == 0


VIP = segment("vip", {"trait": {"path": "computed.spent", "op": "gte", "value": 1}})
NESTED = segment("nested", {"not": {"any": [{"in_segment": "vip"}, {"list": "staff"}]}})
LIVE_DEFINITIONS = {
    definition.key: definition
    for definition in (VIP, NESTED, list_definition("staff", []), computed("spent", {"count": {"event": "Bought"}}))
}


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
    assert referencing_keys(key, {**LIVE_DEFINITIONS, "Destination/hook": destination()}) == by


def test_a_shipped_trait_is_there_without_its_definition() -> None:
    shipped_trait = computed("lifecycle", {"lifecycle": {"at_risk_after": "10d", "lost_after": "20d"}})
    lost = segment("lost", {"lifecycle": {"stage": ["lost"]}})
    assert referencing_keys(shipped_trait.key, {shipped_trait.key: shipped_trait, lost.key: lost}) == []


async def test_referenced_or_missing_definition_cannot_be_removed() -> None:
    bus, store = MemoryBus(), MemoryStore(ManualClock())
    await create_topics(SETTINGS, bus)
    await definitions_topic.write(SETTINGS, bus, LIVE_DEFINITIONS.values())
    removal = DefinitionRemoval(SETTINGS, bus, store, ManualClock())
    with pytest.raises(Invalid, match="named by Segment/nested"):
        await removal.remove("Segment/vip")
    with pytest.raises(Invalid, match="there are Segment/nested, Segment/vip"):
        await removal.remove("Segment/vop")
    with pytest.raises(Invalid, match="KIND/NAME"):
        await removal.remove("vip")
    assert set(await definitions_topic.read_live(SETTINGS, bus)) == set(LIVE_DEFINITIONS)


async def test_a_list_is_written_without_its_values() -> None:
    bus = MemoryBus()
    await create_topics(SETTINGS, bus)
    text = "apiVersion: onefold/v1\nkind: List\nmetadata: {name: staff}\nspec: {namespace: email, values: [an@shop.vn]}\n"
    assert await definitions_topic.write(SETTINGS, bus, load_yaml(text, "test")) == 1
    live_list = (await definitions_topic.read_live(SETTINGS, bus))["List/staff"]
    assert isinstance(live_list, SegmentList)
    assert live_list.spec.values == ()
    assert len(live_list.spec.nodes) == 1


def test_an_instant_is_read_with_its_zone_or_as_utc() -> None:
    assert parse_instant("") is None
    assert parse_instant("2026-01-31T09:00:00+07:00") == parse_instant("2026-01-31T02:00:00") == 1_769_824_800_000
    with pytest.raises(Invalid, match="--at"):
        parse_instant("hôm qua")


def test_a_preview_is_of_a_live_segment_or_of_those_of_a_file() -> None:
    assert plan_with_file("vip", LIVE_DEFINITIONS, {})[1] == ["vip"]
    new = segment("new", {"in_segment": "vip"})
    assert plan_with_file("new.yaml", LIVE_DEFINITIONS, {new.key: new})[1] == ["new"]
    with pytest.raises(Invalid, match="no segment and no file is called"):
        plan_with_file("vop", LIVE_DEFINITIONS, {})
    with pytest.raises(Invalid, match="defines no segment"):
        plan_with_file("spent.yaml", LIVE_DEFINITIONS, {"ComputedTrait/spent": LIVE_DEFINITIONS["ComputedTrait/spent"]})


def test_plan_and_result_are_rendered() -> None:
    sizes = (SegmentSize("vip", 1, 13, 12, 0, tuple(f"{n:032x}" for n in range(10))), SegmentSize("nested", 0, 0, 0, 0))
    preview = ApplyPreview(
        {"Segment/vip": "create"},
        sizes,
        tuple(register_bounds(segment_plan_of([VIP, NESTED, LIVE_DEFINITIONS["ComputedTrait/spent"]]))),
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(apply_answers.render_planned(preview))
    console.print(
        apply_answers.render_applied(
            preview.changes, ApplyResult(("Segment/vip",), 1, 9, 5, {"vip": SegmentTally(1, 13, 12, 0)}, 1.84, 7)
        )
    )
    text = console.export_text()
    for word in (
        "create",
        "vip: would enter 0",
        "13",
        "exact while",
        "total",
        "agents waited 1.8 s",
        "7 profiles evaluated again",
    ):
        assert word in text
    answer = planned_to_json(preview)
    assert json.loads(json.dumps(answer)) == answer
    assert answer["segments"][0]["sample"] == list(sizes[0].sample)


def test_progress_is_printed_in_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_on_stderr() as report:
        for completed in (500, 1_000, 1_500):
            report("events folded", completed, 1_200)
        report("profiles seeded", 10, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["events folded: 500 of 1,200", "events folded: 1,500 of 1,500", "profiles seeded: 10 of 10"]
