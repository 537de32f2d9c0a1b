"""A timer's touch that is evaluated after later events: what they turned is theirs, not time's, and not earlier than they."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from domain.definitions.kinds import AnyDefinition, Segment
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.membership import Membership, SegmentState, encode_membership
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.port import Record
from runtime.clock import ManualClock
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import Touched, Transition
from streams.steps.segment import SegmentStep
from tests.support.segments import customer_event, segment
from tests.support.simulated_pipeline import Pipeline

NOW_MS = ManualClock().now_ms()
MINUTE = 60_000
HOUR = 60 * MINUTE
VIEWERS = segment("viewers", {"did": {"event": "Viewed"}})
LATELY = segment("lately", {"did": {"event": "Called", "within": "1m"}})
OPEN = segment("open", {"all": [{"did": {"event": "Called", "within": "1m"}}, {"did_not": {"event": "Ordered"}}]})
PLACE = TopicPartition("touched", 0, 1)


async def evaluate_late(
    definitions: Sequence[Segment],
    events: Sequence[Event],
    inside: Mapping[str, int],
    *,
    label_version: int = 0,
    evaluated_ms: int = 0,
    now_ms: int = NOW_MS,
) -> dict[str, Transition]:
    """Return the transitions of a timer's touch that is the first to be evaluated after the events.

    `inside` are the segments that the profile is in, each with the instant at which it was due by the facts of the last evaluation.
    """
    line = Pipeline(random.Random(1), definitions, partitions=1)
    for event in events:
        line.feed(event)
    while line.committed["events", 0] < len(line.logs["events", 0]):
        await line.run_slice("events", 0)
    profile_id = events[0].owner
    plan = segment_plan_of(definitions)
    stored = Membership(
        segments={name: SegmentState(member=True, seq=1, since_ms=1) for name in inside},
        next_change_ms=dict(inside),
        plan_fingerprint=plan.fingerprint,
        label_version=label_version,
        evaluated_ms=evaluated_ms,
    )
    document = GuardedDocument(encode_membership(stored), "by hand", 0)
    await line.store.save(PLACE, None, 0, Writes(documents={("membership", profile_id): document}))
    touch = Touched(profile_id=profile_id, node=profile_id, cause="timer", at_ms=min(inside.values()))
    step = SegmentStep(line.settings, line.store, lambda: plan)
    outcome = await step.run(PLACE, [Record("t", 0, 50, now_ms, None, encode(touch))], now_ms)
    transitions = [decode(Transition, record.value) for record in outcome.produce if record.topic.endswith("memberships")]
    return {transition.segment: transition for transition in transitions}


def facts_of(transition: Transition) -> tuple[Any, ...]:
    return transition.op, transition.cause, transition.event_id, transition.at_ms


async def test_after_a_link_what_a_later_event_turned_is_not_dated_before_it() -> None:
    called, viewed = customer_event("Called", NOW_MS - 70_000), customer_event("Viewed", NOW_MS - 5_000)
    due = called.time_ms + MINUTE
    # Any other version than the label's makes the evaluation complete.
    found = await evaluate_late([VIEWERS, LATELY], (called, viewed), {"lately": due}, label_version=99)
    assert facts_of(found["viewers"]) == ("entered", "event", viewed.id, NOW_MS)
    assert facts_of(found["lately"]) == ("exited", "timer", "", due)


async def test_what_left_by_a_later_event_did_not_leave_when_an_outdated_timer_was_due() -> None:
    first, again = customer_event("Called", NOW_MS - 70_000), customer_event("Called", NOW_MS - 30_000)
    ordered = customer_event("Ordered", NOW_MS - 5_000)
    found = await evaluate_late([OPEN], (first, again, ordered), {"open": first.time_ms + MINUTE})
    assert facts_of(found["open"]) == ("exited", "event", ordered.id, NOW_MS)


async def test_what_left_before_a_later_event_left_when_its_timer_was_due() -> None:
    called, ordered = customer_event("Called", NOW_MS - 70_000), customer_event("Ordered", NOW_MS - 5_000)
    found = await evaluate_late([OPEN], (called, ordered), {"open": called.time_ms + MINUTE})
    assert facts_of(found["open"]) == ("exited", "timer", "", called.time_ms + MINUTE)


async def test_a_worker_that_was_away_for_an_hour_dates_an_exit_when_the_last_call_was_a_minute_ago() -> None:
    first, again = customer_event("Called", NOW_MS - HOUR), customer_event("Called", NOW_MS - HOUR + 30_000)
    found = await evaluate_late([LATELY], (first, again), {"lately": first.time_ms + MINUTE}, evaluated_ms=first.time_ms)
    assert facts_of(found["lately"]) == ("exited", "timer", "", again.time_ms + MINUTE)


async def test_an_event_that_arrives_after_the_timers_instant_with_an_earlier_time_made_the_change() -> None:
    first, again = customer_event("Called", NOW_MS - 70_000), customer_event("Called", NOW_MS - 30_000)
    late = customer_event("Ordered", NOW_MS - 20_000, received_ms=NOW_MS - 5_000)
    found = await evaluate_late([OPEN], (first, again, late), {"open": first.time_ms + MINUTE})
    assert facts_of(found["open"]) == ("exited", "event", late.id, NOW_MS)


async def test_a_trait_that_was_set_after_the_timers_instant_made_the_change() -> None:
    gold = segment("gold", {"trait": {"path": "tier", "value": "gold"}})
    called = customer_event("Called", NOW_MS - 70_000)
    identified = customer_event("$identify", NOW_MS - 5_000, traits={"tier": "gold"})
    due = called.time_ms + MINUTE
    found = await evaluate_late([gold, LATELY], (called, identified), {"lately": due}, label_version=99)
    assert facts_of(found["gold"]) == ("entered", "event", identified.id, NOW_MS)


async def test_a_segment_that_looks_at_a_turned_one_has_the_same_event() -> None:
    definitions: list[AnyDefinition] = [VIEWERS, LATELY, segment("both", {"in_segment": "viewers"})]
    called, viewed = customer_event("Called", NOW_MS - 70_000), customer_event("Viewed", NOW_MS - 5_000)
    segments = [one for one in definitions if isinstance(one, Segment)]
    found = await evaluate_late(segments, (called, viewed), {"lately": called.time_ms + MINUTE}, label_version=99)
    assert facts_of(found["both"]) == ("entered", "event", viewed.id, NOW_MS)


async def test_of_two_events_whose_touches_are_still_to_come_the_one_that_turned_it_is_named() -> None:
    called = customer_event("Called", NOW_MS - 70_000)
    first, second = customer_event("Viewed", NOW_MS - 6_000), customer_event("Viewed", NOW_MS - 5_000)
    due = called.time_ms + MINUTE
    found = await evaluate_late([VIEWERS, LATELY], (called, first, second), {"lately": due}, label_version=99)
    assert facts_of(found["viewers"]) == ("entered", "event", first.id, NOW_MS)
