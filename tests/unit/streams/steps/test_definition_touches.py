"""Touches that are sent only because definitions changed take nothing from an event or a timer."""

import random

import pytest

from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.membership import Membership, SegmentState, encode_membership
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.port import Record
from runtime.clock import ManualClock
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Cause, Touched, Transition
from streams.outcome import Outcome
from streams.steps.segment import SegmentStep
from streams.steps.touches import coalesce
from tests.support.segments import customer_event, segment
from tests.support.simulated_pipeline import Pipeline

NOW_MS = ManualClock().now_ms()
MINUTE = 60_000
VIEWERS = segment("viewers", {"did": {"event": "Viewed"}})
LATELY = segment("lately", {"did": {"event": "Called", "within": "1m"}})
NEW = segment_plan_of([VIEWERS, LATELY])
PLACE = TopicPartition("touched", 0, 1)


async def line_of(*events: Event, inside: tuple[str, ...] = ()) -> tuple[Pipeline, str]:
    """Return a pipeline that applied these events and evaluated nobody, and the profile, which is in segments by a baseline."""
    line = Pipeline(random.Random(1), [VIEWERS, LATELY], partitions=1)
    for one in events:
        line.feed(one)
    while line.committed["events", 0] < len(line.logs["events", 0]):
        await line.run_slice("events", 0)
    profile_id = events[0].owner
    held = Membership(segments={name: SegmentState(member=True, seq=1, since_ms=1) for name in inside})
    await line.store.save(
        PLACE,
        None,
        0,
        Writes(documents={("membership", profile_id): GuardedDocument(encode_membership(held), "by hand", 0)}),
    )
    return line, profile_id


async def run_touches(line: Pipeline, profile_id: str, cause: Cause, offsets: tuple[int, ...]) -> Outcome:
    """Return what the segment agent does about a touch of this kind."""
    said = Touched(profile_id=profile_id, node=profile_id, cause=cause, at_ms=NOW_MS, since_ms=NOW_MS, offsets=offsets)
    step = SegmentStep(line.settings, line.store, lambda: NEW)
    return await step.run(PLACE, [Record("t", 0, 50, NOW_MS, None, encode(said))], line.clock.now_ms())


def transitions(outcome: Outcome) -> list[Transition]:
    return [decode(Transition, one.value or b"") for one in outcome.produce if one.topic.endswith("memberships")]


@pytest.mark.parametrize("cause", ["backfill", "definition"])
async def test_membership_from_history_absent_in_the_baseline_is_silent(cause: Cause) -> None:
    line, profile_id = await line_of(customer_event("Viewed", NOW_MS - 5))
    [said] = transitions(await run_touches(line, profile_id, cause, (1,)))
    assert said.segment == "viewers"
    assert said.op == "entered"
    assert said.cause == cause
    assert said.at_ms == NOW_MS


@pytest.mark.parametrize("cause", ["backfill", "definition"])
async def test_profile_with_a_newer_event_is_left_to_that_events_touch(cause: Cause) -> None:
    line, profile_id = await line_of(customer_event("Other", NOW_MS - 5), customer_event("Viewed", NOW_MS - 4))
    outcome = await run_touches(line, profile_id, cause, (1,))
    assert outcome.writes.documents == {}
    assert outcome.writes.timers == {}
    assert outcome.produce == ()
    await line.drain()
    assert [(one.segment, one.cause) for one in line.transitions()] == [("viewers", "event")]


async def test_change_by_time_alone_has_cause_timer() -> None:
    called = customer_event("Called", NOW_MS - 30_000)
    line, profile_id = await line_of(called, inside=("lately",))
    line.clock.advance(2 * MINUTE)
    [said] = transitions(await run_touches(line, profile_id, "backfill", (1,)))
    assert said.op == "exited"
    assert said.cause == "timer"
    assert said.at_ms == called.time_ms + MINUTE


async def test_pending_change_sets_its_timer() -> None:
    called = customer_event("Called", NOW_MS - 30_000)
    line, profile_id = await line_of(called, inside=("lately",))
    outcome = await run_touches(line, profile_id, "backfill", (1,))
    assert outcome.writes.timers == {profile_id: called.time_ms + MINUTE}
    assert transitions(outcome) == []


def test_other_touch_in_the_slice_covers_the_definitions_touch() -> None:
    of_definitions = Touched(profile_id="p", node="p", cause="backfill", at_ms=NOW_MS, since_ms=NOW_MS, offsets=(1,))
    live = Touched(profile_id="p", node="p", cause="event", event_id="e", at_ms=NOW_MS, changed=("Viewed",))
    for order in ((of_definitions, live), (live, of_definitions)):
        found = coalesce([(Record("t", 0, number, 1, None, b""), one) for number, one in enumerate(order)])["p"]
        assert found.cause == "event"
        assert found.event_id == "e"
        assert found.changed is None
        assert found.since_ms == 0
        assert found.offsets == ()


def test_touches_after_two_definition_changes_use_the_earlier_baseline() -> None:
    both = [Touched(profile_id="p", node="p", cause="backfill", at_ms=n, since_ms=n, offsets=(n,)) for n in (5, 9)]
    found = coalesce([(Record("t", 0, number, 1, None, b""), one) for number, one in enumerate(both)])["p"]
    assert found.since_ms == 5
    assert found.offsets == (5,)
