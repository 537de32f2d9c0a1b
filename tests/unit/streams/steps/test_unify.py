import random

from tests.support.events import event
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
