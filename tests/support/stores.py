"""Profile stores for tests that must pass on each of them."""

import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from pydantic import SecretStr
from redis import Redis

from profile_store.connect import open_store
from profile_store.keys import KIND_LETTERS
from profile_store.memory import MemoryStore
from profile_store.port import ProfileStore
from runtime.clock import Clock
from runtime.settings import Settings
from tests.support.source_tree import ROOT

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
    """Yield a store on a shared server or cluster, in an environment that no other test uses, and wipe it at the end.

    It logs in as a user who has the rights that operators are told to give, and no others.
    """
    environment = f"t{uuid.uuid4().hex[:16]}"
    store = make(Settings(redis_url=SecretStr(_as_restricted_user(url, environment)), environment=environment), clock)
    try:
        yield store
        await store.wipe(KIND_LETTERS)
    finally:
        await store.aclose()


def _as_restricted_user(url: str, environment: str) -> str:
    """Make a user with the rights of docs/operating.md on every server of an address, and return the address with its login."""
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    documented = re.search(r"^ACL SETUSER onefold on >PASSWORD ~onefold:\* (.+)$", page, re.MULTILINE)
    assert documented is not None
    scheme, _, rest = url.partition("://")
    login, _, hosts = rest.rpartition("@")
    for host in hosts.partition("/")[0].split(","):
        with Redis.from_url(f"redis://{login}{'@' if login else ''}{host}") as admin:
            admin.execute_command("ACL", "SETUSER", environment, "on", ">hush", f"~{environment}:*", *documented[1].split())
    return f"{scheme}://{environment}:hush@{hosts}"
