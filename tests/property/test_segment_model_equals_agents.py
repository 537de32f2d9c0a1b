"""The model that the laws of time are tested on maintains the memberships that the real agents maintain.

`SegmentStream` is simple and fast, so the laws run on hundreds of worlds. That is worth only as much as the model is true: here the
production process, over a broker and a store in memory, gets the same history, and both must agree after every arrival.
"""

from pathlib import Path

import pytest

from domain.profiles.membership import decode_membership
from ops import definitions_topic
from ops.prepare import create_topics
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from streams.agents import build_agents
from streams.testing import run_streams
from tests.support.rounds import rounds
from tests.support.segment_laws import SegmentWorld
from tests.support.segment_stream import SegmentStream


@pytest.mark.parametrize("seed", range(rounds(quick=5, thorough=40)))
async def test_model_and_agents_maintain_the_same_memberships(seed: int, tmp_path: Path) -> None:
    world = SegmentWorld(seed)
    arrivals = [arrival for arrival in world.history.arrivals if arrival.event is not None]
    clock = ManualClock(arrivals[0].at_ms - 1)
    settings = Settings(data_dir=tmp_path, partitions=2)
    bus, store = MemoryBus(clock), MemoryStore(clock)
    await create_topics(settings, bus)
    await definitions_topic.write(settings, bus, world.definitions)
    model = SegmentStream(world.plan, world.rng, coalesce=0.0)
    producer = await bus.producer()
    # No link agent: the labels of a random history follow from no evidence, so the model gets none either.
    async with run_streams(
        settings,
        bus=bus,
        store=store,
        clock=clock,
        build_steps=lambda dependencies: build_agents(dependencies, ["unify", "segment"]),
    ) as streams:
        for arrival in arrivals:
            clock.advance(arrival.at_ms - clock.now_ms())
            await streams.wait_until_idle()
            assert arrival.event is not None
            await producer.send([Outgoing(settings.topic("events"), encode(arrival.event), key=arrival.event.owner.encode())])
            await streams.wait_until_idle()
            model.apply_arrival(arrival)
            assert await segments_of(store) == segments_of_model(model)
        clock.advance(world.end_ms - clock.now_ms())
        await streams.wait_until_idle()
        model.advance_to(world.end_ms)
        assert await segments_of(store) == segments_of_model(model)


async def segments_of(store: ProfileStore) -> dict[str, set[str]]:
    """Return the segments of each profile that is in any, as the agents stored them."""
    documents = {profile_id: decode_membership(data) async for profile_id, data in store.scan("membership")}
    return {profile_id: segments for profile_id, document in documents.items() if (segments := document.active_segments())}


def segments_of_model(model: SegmentStream) -> dict[str, set[str]]:
    """Return the segments of each profile that is in any, as the model has them."""
    return {profile_id: segments for profile_id, document in model.documents.items() if (segments := document.active_segments())}
