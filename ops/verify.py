"""Law 7, looked at: a hash of what Redis holds, and one of what ClickHouse's events come to."""

from dataclasses import dataclass

from ops import state
from profile_store.port import ProfileStore
from profile_store.warehouse.client import Warehouse
from segments.plan import Plan


@dataclass(frozen=True, slots=True)
class Verified:
    """Both hashes with what they are of. `torn` counts labels and members of Redis that contradict each other."""

    redis: str
    clickhouse: str
    agree: bool
    profiles_redis: int
    profiles_clickhouse: int
    torn: int


async def verify(store: ProfileStore, warehouse: Warehouse) -> Verified:
    """Both states now. At a quiet moment they agree; while events flow, one store may be ahead of the other.

    Raises Transient when a store does not answer.
    """
    held = await state.of_redis(store)
    recomputed = (await state.of_clickhouse(warehouse, Plan(()))).state
    redis, clickhouse = state.state_hash(held), state.state_hash(recomputed)
    return Verified(
        redis=redis,
        clickhouse=clickhouse,
        agree=redis == clickhouse,
        profiles_redis=len(held.profiles()),
        profiles_clickhouse=len(recomputed.profiles()),
        torn=held.torn,
    )
