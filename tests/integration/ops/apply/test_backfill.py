"""Definitions applied over history: as if they had always been there, whatever comes meanwhile and wherever it is cut off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

import pytest

from ops import definitions_topic as definitions
from ops.apply.baseline import Tally
from ops.apply.backfill_history import History
from ops.apply.preview import Planned, planned
from ops.apply.backfill import Backfill
from ops.apply.reevaluation import Touching
from ops.writers_pause import until
from domain.identity import groups
from domain.profiles import fragment as model
from profile_store.port import DEFINITIONS
from warehouse.client import Warehouse
from runtime.clock import ManualClock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from schemas.events import Event
from schemas.records import Transition
from domain.definitions.kinds import AnyDefinition, load_yaml
from domain.segments.plan import Plan
from tests.support.events import event
from tests.support.live_pipeline import Living, living
from tests.support.stores import REAL, real_store

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
STEPS = ("read", "caught up", "planted", "said", "compared", "noted", "written", "released")


def documents(text: str = SPOKEN) -> list[AnyDefinition]:
    return load_yaml(text, "test")


def order(who: str, number: int, **more: object) -> Event:
    identifiers = {"user_id": who} if number % 2 else {"user_id": who, "anonymous_id": f"cookie-{who}"}
    return event(identifiers, id=f"{who}-{number}", name="Đặt hàng", properties={"total": 10 + number, **more})


def history(people: int = 12, orders: int = 4) -> list[Event]:
    """The n-th person has ordered n % orders times."""
    browsed = [event({"user_id": f"u{n}"}, id=f"u{n}-xem", name="Xem hàng") for n in range(people)]
    return browsed + [order(f"u{n}", number) for n in range(people) for number in range(n % orders)]


@pytest.fixture
async def world(clickhouse_settings: Settings, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[Living]:
    async with living(clickhouse_settings, warehouse, tmp_path) as found:
        yield found


async def as_from_the_start(world: Living, events: list[Event], text: str = SPOKEN) -> None:
    """Registers, byte for byte, and memberships are what the events come to under definitions that were always there."""
    await world.rest()
    plan, expected = Plan(documents(text)), dict[str, model.Fragment]()
    for one in events:
        model.apply(expected.setdefault(one.owner, model.Fragment()), one, plan)
    found = await world.fragments()
    assert {owner: (fragment.kept, fragment.tallies) for owner, fragment in found.items()} == {
        owner: (fragment.kept, fragment.tallies) for owner, fragment in expected.items()
    }
    assert {owner: model.encode(fragment) for owner, fragment in found.items()} == {
        owner: model.encode(fragment) for owner, fragment in expected.items()
    }
    profiles: dict[str, list[str]] = {}
    for owner, label in (await world.store.labels(sorted(expected))).items():
        profiles.setdefault(label.profile_id, []).append(owner)
    held = {}
    for profile_id, owners in profiles.items():
        joined = model.join((expected[owner] for owner in owners), plan.registers)
        _, verdicts = plan.at(groups.facts(joined, {}, {}, None, "", ()), world.clock.now_ms())
        if members := {name for name, verdict in verdicts.items() if verdict.member}:
            held[profile_id] = members
    assert await world.held() == held


async def test_what_was_there_before_is_in_without_a_word_and_what_comes_after_enters_live(world: Living) -> None:
    events = history()
    await world.tell(events)
    await world.rest()
    applied = await world.backfill().apply(documents())
    assert set(applied.written) == {"ComputedTrait/spent", "Segment/buyers", "Segment/vip"}
    assert applied.segments["buyers"].now == 6
    assert (applied.segments["vip"].now, applied.profiles) == (3, 12)
    await as_from_the_start(world, events)
    said = await world.transitions()
    assert {one.cause for one in said} == {"backfill"}
    assert Counter(one.segment for one in said) == {"buyers": 6, "vip": 3}
    assert all(one.segment_version == world.definitions.plan.versions[one.segment] for one in said)
    live = [order("u1", 9)]
    await world.tell(live)
    await as_from_the_start(world, events + live)
    assert await turns(world, said) == {("buyers", "entered", "event", "u1-9"): 1}


async def turns(world: Living, before: Collection[Transition] = ()) -> Counter[tuple[str, str, str, str]]:
    """The transitions that were said, but for those of before."""
    return Counter((t.segment, t.op, t.cause, t.event_id) for t in await world.transitions() if t not in before)


async def test_nothing_is_done_where_nothing_changed_and_titles_concern_nobody(world: Living) -> None:
    await world.tell(history())
    await world.rest()
    await world.backfill().apply(documents())
    said = await world.transitions()
    assert (await world.backfill().apply(documents())).written == ()
    applied = await world.backfill().apply(documents(SPOKEN.replace("name: vip", "name: vip, title: {vi: Khách quý}")))
    assert (applied.written, applied.segments, applied.profiles) == (("Segment/vip",), {}, 0)
    await world.rest()
    assert await world.transitions() == said


class Meanwhile(Backfill):
    """Something happens at every step."""

    happening: Callable[[str], Awaitable[None]]

    async def _reached(self, step: str) -> None:
        await self.happening(step)


def busy(world: Living, happening: Callable[[str], Awaitable[None]]) -> Backfill:
    found = Meanwhile(world.settings, world.bus, world.store, History(world.settings, world.bus, world.reach), world.clock)
    found.happening = happening
    return found


@pytest.mark.parametrize("settle", [False, True])
async def test_what_comes_while_they_are_applied_is_counted_once(world: Living, *, settle: bool) -> None:
    events = history()
    await world.tell(events)
    await world.rest()

    async def order_again(step: str) -> None:
        """Somebody new orders twice, somebody known once more; ClickHouse may hear of it before the switch goes on."""
        new = [order(f"{step}-{len(events)}", 1), order(f"{step}-{len(events)}", 2), order("u1", len(events))]
        events.extend(new)
        await world.tell(new)
        if settle:
            await asyncio.sleep(0.05)

    await busy(world, order_again).apply(documents())
    await as_from_the_start(world, events)
    said = await world.transitions()
    assert set(Counter((one.profile_id, one.segment) for one in said).values()) == {1}
    assert {one.op for one in said} == {"entered"}


async def test_a_person_whose_order_waits_at_the_switch_enters_by_it(world: Living) -> None:
    events = [order("u1", 1)]
    await world.tell(events)
    await world.rest()

    async def order_again(step: str) -> None:
        if step == "caught up":
            events.append(order("u1", 2))
            await world.tell(events[1:])
            await until(lambda: world.consumed("events", 2), 10, 0.01)

    applied = await busy(world, order_again).apply(documents())
    assert applied.segments["buyers"].now == 0
    await as_from_the_start(world, events)
    assert await turns(world) == {("buyers", "entered", "event", "u1-2"): 1}


class Killed(Exception):
    """The command was killed."""


@pytest.mark.parametrize("where", STEPS)
async def test_cut_off_anywhere_a_second_run_completes_it(world: Living, where: str) -> None:
    events = history()
    await world.tell(events)
    await world.rest()

    async def die(step: str) -> None:
        if step == where:
            raise Killed

    with pytest.raises(Killed):
        await busy(world, die).apply(documents())
    await world.tell([order("u1", 7), order("u2", 7)])
    events += [order("u1", 7), order("u2", 7)]
    world.clock.advance(61_000)  # a hold that nobody lifts has lapsed
    await world.backfill().apply(documents())
    await as_from_the_start(world, events)
    last = {(one.profile_id, one.segment): one for one in sorted(await world.transitions(), key=lambda one: one.seq)}
    assert {one.op for one in last.values()} == {"entered"}
    assert await Touching(world.settings, world.bus, world.store, world.clock).pending() is None


async def test_a_plan_says_beforehand_what_apply_then_does(world: Living) -> None:
    await world.tell(history())
    await world.rest()
    found = await sized(world, SPOKEN)
    assert [(one.segment, one.before, one.now, one.entering, one.leaving) for one in found.segments] == [
        ("buyers", 0, 6, 6, 0),
        ("vip", 0, 3, 3, 0),
    ]
    assert {one.owner for one in found.bounds} == {"buyers", "computed.spent"}
    applied = await world.backfill().apply(documents())
    await world.rest()
    held = await world.held()
    assert {profile_id for profile_id, names in held.items() if "buyers" in names} == set(found.segments[0].sample)
    assert applied.segments == {"buyers": Tally(0, 6, 6, 0), "vip": Tally(0, 3, 3, 0)}
    assert (await sized(world, SPOKEN)).segments == ()
    (changed, *_) = (await sized(world, SPOKEN.replace("at_least: 2", "at_least: 3"))).segments
    assert (changed.before, changed.now, changed.entering, changed.leaving, changed.sample) == (6, 3, 0, 3, ())


async def sized(world: Living, text: str) -> Planned:
    known = await definitions.live(world.settings, world.bus)
    return await planned(known, documents(text), {}, History(world.settings, world.bus, world.reach), world.clock.now_ms())


async def test_a_changed_definition_lets_in_and_out_what_it_says_now(world: Living) -> None:
    events = history()
    await world.tell(events)
    await world.rest()
    await world.backfill().apply(documents())
    said = await world.transitions()
    changed = SPOKEN.replace("at_least: 2", "at_least: 3").replace("gte, value: 30", "gte, value: 1")
    applied = await world.backfill().apply(documents(changed))
    assert applied.segments == {"buyers": Tally(6, 3, 0, 3), "vip": Tally(3, 3, 0, 0)}
    await as_from_the_start(world, events, changed)
    assert await turns(world, said) == {("buyers", "exited", "backfill", ""): 3}


async def removed_and_restored(world: Living) -> None:
    events = history()
    await world.tell(events)
    await world.rest()
    await world.backfill().apply(documents())
    held, said = await world.held(), await world.transitions()
    for key in ("Segment/vip", "Segment/buyers", "ComputedTrait/spent"):
        await world.removal().remove(key)
    await world.rest()
    assert await world.held() == {}
    assert await turns(world, said) == {("buyers", "exited", "definition", ""): 6, ("vip", "exited", "definition", ""): 3}
    said = await world.transitions()
    missed = [order("u1", 8), order("u9", 8)]
    await world.tell(missed)
    await world.rest()
    await world.backfill().apply(documents())
    await as_from_the_start(world, events + missed)
    assert held.items() <= (await world.held()).items()
    assert {cause for _, _, cause, _ in await turns(world, said)} == {"backfill"}


async def test_removed_and_restored_nothing_is_lost_and_nothing_counted_twice(world: Living) -> None:
    await removed_and_restored(world)


@pytest.mark.parametrize("real", REAL)
async def test_it_is_the_same_on_a_real_store(
    request: pytest.FixtureRequest, real: str, clickhouse_settings: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with (
        real_store(request.getfixturevalue(real), clock) as store,
        living(clickhouse_settings, warehouse, tmp_path, store, clock) as world,
    ):
        await removed_and_restored(world)


async def test_definitions_that_somebody_else_changes_meanwhile_stop_it(world: Living) -> None:
    await world.tell(history())
    await world.rest()
    other = "apiVersion: onefold/v1\nkind: Source\nmetadata: {name: tong-dai}\nspec: {topic_ingress: true}\n"

    async def meddle(step: str) -> None:
        if step == "read":
            await definitions.write(world.settings, world.bus, documents(other))

    with pytest.raises(Transient, match="run it again"):
        await busy(world, meddle).apply(documents())
    assert not (await world.store.standing(DEFINITIONS)).held
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


async def test_a_household_counts_what_nobody_asked_for_before_and_nobody_hears_of_it(world: Living) -> None:
    await world.backfill().apply(documents(HOUSEHOLDS))
    homes = {"u1": "12 Phố Huế", "u2": "12 Phố Huế", "u5": "1 Tràng Tiền", "u6": "1 Tràng Tiền"}
    moved_in = [
        event({"user_id": who}, id=f"{who}-ở", type="identify", traits={"address": {"street": home, "city": "Hà Nội"}})
        for who, home in homes.items()
    ]
    await world.tell(history() + moved_in)
    await world.rest()
    applied = await world.backfill().apply(documents(FAMILY))
    await world.rest()
    assert applied.segments == {"family": Tally(0, 4, 4, 0)}
    assert await turns(world) == {("family", "entered", "backfill", ""): 4}
    assert all("family" in names for names in (await world.held()).values())
    await world.tell([order("u1", 30)])
    await world.rest()
    assert await turns(world) == {("family", "entered", "backfill", ""): 4}


async def test_a_removal_cut_off_is_completed_by_a_second_one(world: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.tell(history())
    await world.rest()
    await world.backfill().apply(documents())

    async def die(*_: object) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Touching, "run", die)
        with pytest.raises(Killed):
            await world.removal().remove("Segment/vip")
    assert "Segment/vip" not in await definitions.live(world.settings, world.bus)
    assert (await world.removal().remove("Segment/vip")).profiles == 12
    await world.rest()
    assert all("vip" not in names for names in (await world.held()).values())
    with pytest.raises(Invalid, match="not defined"):
        await world.removal().remove("Segment/vip")
