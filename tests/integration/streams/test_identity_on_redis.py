"""Identity on real stores: random histories through the agents' steps on a Redis server and on a cluster of three primaries.

They crash between any two effects and, on the cluster, in the midst of a save. A plain run in memory must give the same state.
"""

import functools
import random
from dataclasses import replace
from typing import Final

import pytest

from domain.definitions.kinds import Segment, load_yaml
from domain.identity import clusters
from profile_store.port import ProfileStore
from runtime.clock import ManualClock
from tests.support.crashing_store import RandomlyCrashingStore, SimulatedCrash
from tests.support.identity_histories import CROWDED_AT, RandomIdentityHistory, check_outcome, random_history, run_history
from tests.support.rounds import rounds
from tests.support.simulated_pipeline import Pipeline
from tests.support.stores import REAL, real_store

HISTORIES: Final = rounds(quick=10, thorough=40)
DEFINITIONS: Final = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Order Completed, at_least: 2}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: hanoi}
spec: {where: {trait: {path: city, value: Hà Nội}}}
"""
SEGMENTS: Final = [document for document in load_yaml(DEFINITIONS, "test") if isinstance(document, Segment)]


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_NEIGHBOURS", CROWDED_AT)


class CrashTolerantPipeline(Pipeline):
    """A pipeline that continues after a crash in a save as a new process would: from what is stored and committed."""

    async def run_slice(self, topic: str, partition: int, crash_after: int | None = None) -> None:
        try:
            await super().run_slice(topic, partition, crash_after)
        except SimulatedCrash:
            return

    async def run_zombie_slice(self, topic: str, partition: int) -> bool:
        try:
            return await super().run_zombie_slice(topic, partition)
        except SimulatedCrash:
            return True


async def compared(history: RandomIdentityHistory, store: ProfileStore) -> None:
    """Check that a random run on `store` ends in the state that the set of events gives, as another random run in memory does."""
    wild = await run_history(history, SEGMENTS, functools.partial(CrashTolerantPipeline, external_store=store))
    await check_outcome(history, wild)
    plain = await run_history(replace(history, seed=history.seed + 1_000_000), SEGMENTS)
    assert await wild.state(history.nodes) == await plain.state(history.nodes)


@pytest.mark.parametrize("server", REAL)
async def test_identity_follows_from_the_set_on_real_stores(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    for seed in range(HISTORIES):
        async with real_store(url, ManualClock()) as store:
            try:
                await compared(random_history(seed), store)
            except AssertionError as error:
                error.add_note(f"seed {seed}")
                raise


@pytest.mark.redis
async def test_identity_follows_from_the_set_with_crashing_cluster_saves_and_late_writers(redis_cluster: str) -> None:
    deaths = 0
    for seed in range(HISTORIES, 2 * HISTORIES):
        history = random_history(seed)
        async with real_store(redis_cluster, ManualClock(), RandomlyCrashingStore) as store:
            assert isinstance(store, RandomlyCrashingStore)
            store.rng = random.Random(seed)
            try:
                await compared(history, store)
            except AssertionError as error:
                error.add_note(f"seed {seed}")
                raise
            store.rng = None
            deaths += store.crashes
    assert deaths > HISTORIES
