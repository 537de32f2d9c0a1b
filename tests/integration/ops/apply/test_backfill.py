"""Definitions applied over history: as if they had always been there, whatever comes meanwhile and wherever it is cut off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from domain.definitions.kinds import AnyDefinition, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.groups import build_profile_facts
from domain.profiles import bounds
from domain.profiles.baseline import SegmentTally
from domain.profiles.fragment import Fragment, apply_event, encode_fragment
from domain.profiles.join import join_fragments
from ops import definitions_topic
from ops.apply.backfill import Backfill, BackfillStep, StepObserver
from ops.apply.backfill_history import BackfillHistory
from ops.apply.preview import ApplyPreview, preview_apply
from ops.apply.reevaluation import Reevaluation
from profile_store.port import DEFINITIONS_PARTITION
from runtime.clock import ManualClock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from schemas.events import Event
from schemas.records import Transition
from tests.support.events import START_MS, event
from tests.support.live_pipeline import LivePipeline, live_pipeline
from tests.support.polling import eventually_async
from tests.support.stores import REAL, real_store
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse

SPOKEN = """
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: spent}
spec: {sum: {event: Đặt hàng, prop: total}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Đặt hàng, at_least: 2}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: vip}
spec: {where: {all: [{trait: {path: computed.spent, op: gte, value: 30}}, {in_segment: buyers}]}}
"""
STEPS: tuple[BackfillStep, ...] = (
    "history folded", "clickhouse caught up", "seeds written", "transitions published", "baseline written", "checkpoint saved",
    "definitions published", "writers resumed",
)  # fmt: skip


def documents(text: str = SPOKEN) -> list[AnyDefinition]:
    return load_yaml(text, "test")


def order(user_id: str, number: int, **more: object) -> Event:
    identifiers = {"user_id": user_id} if number % 2 else {"user_id": user_id, "anonymous_id": f"cookie-{user_id}"}
    return event(identifiers, id=f"{user_id}-{number}", name="Đặt hàng", properties={"total": 10 + number, **more})


def history(people: int = 12, orders: int = 4) -> list[Event]:
    """Return the events of people of whom the n-th has placed n % orders orders."""
    browsed = [event({"user_id": f"u{n}"}, id=f"u{n}-xem", name="Xem hàng") for n in range(people)]
    return browsed + [order(f"u{n}", number) for n in range(people) for number in range(n % orders)]


@pytest.fixture
async def world(clickhouse_settings: Settings, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[LivePipeline]:
    async with live_pipeline(clickhouse_settings, warehouse, tmp_path) as pipeline:
        yield pipeline


async def as_from_the_start(world: LivePipeline, events: list[Event], text: str = SPOKEN) -> None:
    """Check that registers, byte for byte, and memberships are as if the definitions had existed before the first event."""
    await world.wait_until_idle()
    plan, expected = segment_plan_of(documents(text)), dict[str, Fragment]()
    for past_event in events:
        apply_event(expected.setdefault(past_event.owner, Fragment()), past_event, plan)
    fragments = await world.fragments()
    assert {owner: (fragment.register_entries, fragment.tallies) for owner, fragment in fragments.items()} == {
        owner: (fragment.register_entries, fragment.tallies) for owner, fragment in expected.items()
    }
    assert {owner: encode_fragment(fragment) for owner, fragment in fragments.items()} == {
        owner: encode_fragment(fragment) for owner, fragment in expected.items()
    }
    profiles: dict[str, list[str]] = {}
    for owner, label in (await world.store.labels(sorted(expected))).items():
        profiles.setdefault(label.profile_id, []).append(owner)
    expected_segments = {}
    for profile_id, owners in profiles.items():
        joined = join_fragments((expected[owner] for owner in owners), plan.registers, retained=plan.retained)
        _, verdicts = plan.evaluate_all(build_profile_facts(joined, {}, {}, None, "", ()), world.clock.now_ms())
        if members := {name for name, verdict in verdicts.items() if verdict.is_member}:
            expected_segments[profile_id] = members
    assert await world.segments_by_profile() == expected_segments


async def test_backfilled_members_are_silent_and_later_members_enter_live(world: LivePipeline) -> None:
    events = history()
    await world.send_events(events)
    await world.wait_until_idle()
    applied = await world.backfill().apply(documents())
    assert set(applied.written) == {"ComputedTrait/spent", "Segment/buyers", "Segment/vip"}
    assert applied.segments["buyers"].after == 6
    assert applied.segments["vip"].after == 3
    assert applied.profiles == 12
    await as_from_the_start(world, events)
    transitions = await world.transitions()
    assert {transition.cause for transition in transitions} == {"backfill"}
    assert Counter(transition.segment for transition in transitions) == {"buyers": 6, "vip": 3}
    assert all(transition.segment_version == world.definitions.plan.versions[transition.segment] for transition in transitions)
    live = [order("u1", 9)]
    await world.send_events(live)
    await as_from_the_start(world, events + live)
    assert await turns(world, transitions) == {("buyers", "entered", "event", "u1-9"): 1}


async def turns(world: LivePipeline, before: Collection[Transition] = ()) -> Counter[tuple[str, str, str, str]]:
    """Count the transitions that were written, without those in `before`."""
    return Counter((t.segment, t.op, t.cause, t.event_id) for t in await world.transitions() if t not in before)


async def test_apply_without_effective_change_does_nothing(world: LivePipeline) -> None:
    await world.send_events(history())
    await world.wait_until_idle()
    await world.backfill().apply(documents())
    transitions = await world.transitions()
    assert (await world.backfill().apply(documents())).written == ()
    applied = await world.backfill().apply(documents(SPOKEN.replace("name: vip", "name: vip, title: {vi: Khách quý}")))
    assert applied.written == ("Segment/vip",)
    assert applied.segments == {}
    assert applied.profiles == 0
    await world.wait_until_idle()
    assert await world.transitions() == transitions


def observed_backfill(world: LivePipeline, observe: StepObserver) -> Backfill:
    """Return a run of `apply` whose steps are reported to `observe`."""
    history_reader = BackfillHistory(world.settings, world.bus, world.connect_warehouse)
    return Backfill(world.settings, world.bus, world.store, history_reader, world.clock, observe=observe)


@pytest.mark.parametrize("settle", [False, True])
async def test_events_during_apply_are_counted_once(world: LivePipeline, *, settle: bool) -> None:
    events = history()
    await world.send_events(events)
    await world.wait_until_idle()

    async def order_again(step: BackfillStep) -> None:
        """Send two orders of a new person and one of a known person; ClickHouse may have them before `apply` continues."""
        new = [order(f"{step}-{len(events)}", 1), order(f"{step}-{len(events)}", 2), order("u1", len(events))]
        events.extend(new)
        await world.send_events(new)
        if settle:
            await asyncio.sleep(0.05)

    await observed_backfill(world, order_again).apply(documents())
    await as_from_the_start(world, events)
    transitions = await world.transitions()
    assert set(Counter((transition.profile_id, transition.segment) for transition in transitions).values()) == {1}
    assert {transition.op for transition in transitions} == {"entered"}


async def test_order_pending_at_the_switch_makes_its_profile_enter(world: LivePipeline) -> None:
    events = [order("u1", 1)]
    await world.send_events(events)
    await world.wait_until_idle()

    async def order_again(step: BackfillStep) -> None:
        if step == "clickhouse caught up":
            events.append(order("u1", 2))
            await world.send_events(events[1:])
            await eventually_async(lambda: world.has_inserted("events", 2), within_s=10, every_s=0.01)

    applied = await observed_backfill(world, order_again).apply(documents())
    assert applied.segments["buyers"].after == 0
    await as_from_the_start(world, events)
    assert await turns(world) == {("buyers", "entered", "event", "u1-2"): 1}


class ApplyKilled(Exception):
    """The command was killed."""


@pytest.mark.parametrize("where", STEPS)
async def test_second_apply_completes_an_interrupted_one(world: LivePipeline, where: BackfillStep) -> None:
    events = history()
    await world.send_events(events)
    await world.wait_until_idle()

    async def die(step: BackfillStep) -> None:
        if step == where:
            raise ApplyKilled

    with pytest.raises(ApplyKilled):
        await observed_backfill(world, die).apply(documents())
    await world.send_events([order("u1", 7), order("u2", 7)])
    events += [order("u1", 7), order("u2", 7)]
    world.clock.advance(61_000)  # a hold that nobody lifts has lapsed
    await world.backfill().apply(documents())
    await as_from_the_start(world, events)
    last_transitions = {
        (transition.profile_id, transition.segment): transition
        for transition in sorted(await world.transitions(), key=lambda transition: transition.seq)
    }
    assert {transition.op for transition in last_transitions.values()} == {"entered"}
    assert await Reevaluation(world.settings, world.bus, world.store, world.clock).pending() is None


async def test_plan_predicts_what_apply_does(world: LivePipeline) -> None:
    await world.send_events(history())
    await world.wait_until_idle()
    preview = await sized(world, SPOKEN)
    assert [(size.segment, size.before, size.after, size.entering, size.leaving) for size in preview.segments] == [
        ("buyers", 0, 6, 6, 0),
        ("vip", 0, 3, 3, 0),
    ]
    assert {bound.owner for bound in preview.bounds} == {"buyers", "computed.spent"}
    applied = await world.backfill().apply(documents())
    await world.wait_until_idle()
    segments_by_profile = await world.segments_by_profile()
    assert {profile_id for profile_id, names in segments_by_profile.items() if "buyers" in names} == set(preview.segments[0].sample)
    assert applied.segments == {"buyers": SegmentTally(0, 6, 6, 0), "vip": SegmentTally(0, 3, 3, 0)}
    assert (await sized(world, SPOKEN)).segments == ()
    (changed, *_) = (await sized(world, SPOKEN.replace("at_least: 2", "at_least: 3"))).segments
    assert changed.before == 6
    assert changed.after == 3
    assert changed.entering == 0
    assert changed.leaving == 3
    assert changed.sample == ()


async def sized(world: LivePipeline, text: str) -> ApplyPreview:
    live_definitions = await definitions_topic.read_live(world.settings, world.bus)
    return await preview_apply(
        live_definitions,
        documents(text),
        {},
        BackfillHistory(world.settings, world.bus, world.connect_warehouse),
        world.clock.now_ms(),
    )


async def test_changed_definition_updates_memberships_both_ways(world: LivePipeline) -> None:
    events = history()
    await world.send_events(events)
    await world.wait_until_idle()
    await world.backfill().apply(documents())
    transitions = await world.transitions()
    changed = SPOKEN.replace("at_least: 2", "at_least: 3").replace("gte, value: 30", "gte, value: 1")
    applied = await world.backfill().apply(documents(changed))
    assert applied.segments == {"buyers": SegmentTally(6, 3, 0, 3), "vip": SegmentTally(3, 3, 0, 0)}
    await as_from_the_start(world, events, changed)
    assert await turns(world, transitions) == {("buyers", "exited", "backfill", ""): 3}


async def removed_and_restored(world: LivePipeline) -> None:
    events = history()
    await world.send_events(events)
    await world.wait_until_idle()
    await world.backfill().apply(documents())
    segments_before, transitions = await world.segments_by_profile(), await world.transitions()
    for key in ("Segment/vip", "Segment/buyers", "ComputedTrait/spent"):
        await world.removal().remove(key)
    await world.wait_until_idle()
    assert await world.segments_by_profile() == {}
    assert await turns(world, transitions) == {("buyers", "exited", "definition", ""): 6, ("vip", "exited", "definition", ""): 3}
    transitions = await world.transitions()
    missed = [order("u1", 8), order("u9", 8)]
    await world.send_events(missed)
    await world.wait_until_idle()
    await world.backfill().apply(documents())
    await as_from_the_start(world, events + missed)
    assert segments_before.items() <= (await world.segments_by_profile()).items()
    assert {cause for _, _, cause, _ in await turns(world, transitions)} == {"backfill"}


async def test_remove_and_restore_loses_and_duplicates_nothing(world: LivePipeline) -> None:
    await removed_and_restored(world)


@pytest.mark.parametrize("real", REAL)
async def test_remove_and_restore_on_a_real_store(
    request: pytest.FixtureRequest, real: str, clickhouse_settings: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with (
        real_store(request.getfixturevalue(real), clock) as store,
        live_pipeline(clickhouse_settings, warehouse, tmp_path, store, clock) as world,
    ):
        await removed_and_restored(world)


async def test_concurrent_definition_change_aborts_apply(world: LivePipeline) -> None:
    await world.send_events(history())
    await world.wait_until_idle()
    other = "apiVersion: onefold/v1\nkind: Source\nmetadata: {name: tong-dai}\nspec: {topic_ingress: true}\n"

    async def meddle(step: BackfillStep) -> None:
        if step == "history folded":
            await definitions_topic.write(world.settings, world.bus, documents(other))

    with pytest.raises(Transient, match="run it again"):
        await observed_backfill(world, meddle).apply(documents())
    assert not (await world.store.checkpoint(DEFINITIONS_PARTITION)).paused
    await world.backfill().apply(documents())
    await as_from_the_start(world, history())


HOUSEHOLDS = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {household: {address_trait: address, shared_traits: [city]}}
"""
FAMILY = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: family}
spec: {where: {household: {did: {event: Đặt hàng, at_least: 3}}}}
"""


async def test_household_counters_are_backfilled_silently(world: LivePipeline) -> None:
    await world.backfill().apply(documents(HOUSEHOLDS))
    homes = {"u1": "12 Phố Huế", "u2": "12 Phố Huế", "u5": "1 Tràng Tiền", "u6": "1 Tràng Tiền"}
    moved_in = [
        event({"user_id": who}, id=f"{who}-ở", type="identify", traits={"address": {"street": home, "city": "Hà Nội"}})
        for who, home in homes.items()
    ]
    await world.send_events(history() + moved_in)
    await world.wait_until_idle()
    applied = await world.backfill().apply(documents(FAMILY))
    await world.wait_until_idle()
    assert applied.segments == {"family": SegmentTally(0, 4, 4, 0)}
    assert await turns(world) == {("family", "entered", "backfill", ""): 4}
    assert all("family" in names for names in (await world.segments_by_profile()).values())
    await world.send_events([order("u1", 30)])
    await world.wait_until_idle()
    assert await turns(world) == {("family", "entered", "backfill", ""): 4}


async def test_second_removal_completes_an_interrupted_one(world: LivePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.send_events(history())
    await world.wait_until_idle()
    await world.backfill().apply(documents())

    async def die(*_: object) -> int:
        raise ApplyKilled

    with monkeypatch.context() as patch:
        patch.setattr(Reevaluation, "run", die)
        with pytest.raises(ApplyKilled):
            await world.removal().remove("Segment/vip")
    assert "Segment/vip" not in await definitions_topic.read_live(world.settings, world.bus)
    assert (await world.removal().remove("Segment/vip")).profiles == 12
    await world.wait_until_idle()
    assert all("vip" not in names for names in (await world.segments_by_profile()).values())
    with pytest.raises(Invalid, match="not defined"):
        await world.removal().remove("Segment/vip")


async def test_a_trait_that_was_dropped_comes_back_when_a_definition_reads_it(
    world: LivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_TRAITS", "MAX_COUNTERS"):
        monkeypatch.setattr(bounds, name, 1)
    sizes = [
        event({"user_id": f"u{n}"}, id=f"u{n}-size-{m}", type="identify", traits={"cỡ_mũ": size}, time_ms=START_MS + m)
        for n in range(4)
        for m, size in enumerate((38, 36 + n))
    ]
    noise = [
        event({"user_id": f"u{n}"}, id=f"u{n}-noise-{m}", type="identify", traits={f"{m}": m, f"x{m}": m})
        for n in range(3)
        for m in range(9)
    ]
    noise += [event({"user_id": f"u{n}"}, id=f"u{n}-event-{m}", name=f"Sự kiện {m}") for n in range(3) for m in range(9)]
    noise += [event({"user_id": f"u{n}"}, id=f"u{n}-order-{m}", name="Thanh toán") for n in range(3) for m in range(2)]
    await world.send_events(events := [*sizes, *noise])
    await world.wait_until_idle()
    # The last customer has no others, so nothing of theirs was dropped.
    before = list((await world.fragments()).values())
    assert sum("cỡ_mũ" in fragment.traits for fragment in before) == 1
    assert sum("Thanh toán" in fragment.counters for fragment in before) == 0
    text = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: large}
spec: {where: {any: [{trait: {path: cỡ_mũ, op: gte, value: 38}}, {did: {event: Thanh toán, at_least: 9}}]}}
"""
    applied = await world.backfill().apply(documents(text))
    assert applied.segments["large"].after == 2
    await as_from_the_start(world, events, text)
