import random

from domain.definitions.kinds import load_yaml
from domain.profiles.event_changes import MAX_TOUCH_EVENT_BYTES
from schemas.codec import decode
from schemas.event_limits import MAX_EVENT_TRAITS, MAX_TRAIT_BYTES
from schemas.records import Touched
from streams.steps.unify import MAX_TOUCH_EVENTS
from tests.support.events import START_MS, event
from tests.support.simulated_pipeline import Pipeline


async def test_calls_that_nobody_owns_are_stored_and_change_no_profile() -> None:
    pipeline, other = Pipeline(random.Random(1), partitions=1), Pipeline(random.Random(1), partitions=1)
    known = event({"user_id": "u1", "caller_number": "+84912345678"}, id="m1", type="call_started", properties={"call_id": "c9"})
    calls = [event({}, id=f"c{n}:call_started", type="call_started", properties={"call_id": f"c{n}"}) for n in range(4)]
    for call in (*calls, known, *calls):
        pipeline.feed(call)
    other.feed(known)
    await pipeline.drain()
    await other.drain()
    for kind in ("fragment", "edges", "membership"):
        assert {key async for key, _ in pipeline.store.scan(kind)} == {key async for key, _ in other.store.scan(kind)}
    assert len(pipeline.logs["touched", 0]) == len(other.logs["touched", 0])
    assert len(pipeline.logs["quarantine", 0]) == 0


async def test_slice_of_nothing_but_nobodys_calls_moves_the_position() -> None:
    pipeline = Pipeline(random.Random(1), partitions=1)
    pipeline.feed(event({}, id="c1:call_started", type="call_started", properties={"call_id": "c1"}))
    await pipeline.drain()
    assert pipeline.committed["events", 0] == 1


async def test_touches_of_events_with_many_large_traits_are_bounded_and_turn_the_segment_all_the_same() -> None:
    names = [f"t{number}" for number in range(MAX_EVENT_TRAITS - 1)]
    where = (
        "{{apiVersion: onefold/v1, kind: Segment, metadata: {{name: s{0}}}, spec: {{where: {{trait: {{path: {0}, value: 1}}}}}}}}"
    )
    readers = "\n---\n".join(map(where.format, names))
    pipeline = Pipeline(random.Random(1), load_yaml(readers, "test"), partitions=1)
    text = "x" * (MAX_TRAIT_BYTES - 2)
    for number in range(3):
        traits = dict.fromkeys(names, 1 if number == 2 else text)
        pipeline.feed(event({"user_id": "u1"}, id=f"m{number}", type="identify", traits=traits, time_ms=START_MS + number))
        await pipeline.drain()
    touches = pipeline.logs["touched", 0]
    assert max(len(record.value or b"") for record in touches) < MAX_TOUCH_EVENTS * MAX_TOUCH_EVENT_BYTES
    events = [touched for record in touches for touched in decode(Touched, record.value).events]
    # The first one replaced nothing, so it says what it changed; the others replaced a megabyte.
    assert [bool(touched.traits) for touched in events] == [True, False, False]
    assert {change.event_id for change in pipeline.transitions()} == {"m2"}
    assert len(pipeline.transitions()) == len(names)
