"""Profile stores for tests that must pass on each of them."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from profile_store.connect import open_store
from profile_store.keys import KIND_LETTERS
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore
from runtime.clock import Clock
from runtime.settings import Settings

REAL: Final = [pytest.param("redis_server", marks=pytest.mark.redis), pytest.param("redis_cluster", marks=pytest.mark.redis)]
"""The fixtures of real stores, for a test's parameters."""
STORES: Final = ["memory", *REAL]


@asynccontextmanager
async def store_named(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[ProfileStore]:
    """Yield the empty store that the fixture's parameter (one of STORES) names, and wipe a real one at the end."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    async with real_store(request.getfixturevalue(request.param), clock) as store:
        yield store


@asynccontextmanager
async def real_store(
    url: str, clock: Clock, make: Callable[[Settings, Clock], ProfileStore] = open_store
) -> AsyncIterator[ProfileStore]:
    """Yield a store on a shared server or cluster, in an environment that no other test uses, and wipe it at the end."""
    store = make(Settings(redis_url=url, environment=f"t{uuid.uuid4().hex[:16]}"), clock)
    try:
        yield store
        await store.wipe(KIND_LETTERS)
    finally:
        await store.aclose()
