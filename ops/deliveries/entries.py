"""Deliveries, read from ClickHouse."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from runtime.errors import Invalid
from schemas.records import DeliveryState
from warehouse import named_queries
from warehouse.client import Warehouse

STATES: Final[tuple[str, ...]] = get_args(DeliveryState)
MAX_LISTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries to read; an empty field does not narrow them. `limit` bounds how many, after the first `skip`."""

    keys: tuple[str, ...] = ()
    destination: str = ""
    segment: str = ""
    profile_id: str = ""
    state: str = "all"
    since_ms: int = 0
    limit: int = 50
    skip: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """One message to a destination as it is now. `next_ms` is when a waiting one is tried next, 0 when it waits in order."""

    key: str
    destination: str
    profile_id: str
    segment: str
    op: str
    seq: int
    state: str
    verdict: str
    attempts: int
    status: int
    detail: str
    transition_ms: int
    at_ms: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class DeliveryStep:
    """One thing that became of a message: an attempt and its result, or a wait."""

    state: str
    verdict: str
    attempts: int
    status: int
    detail: str
    at_ms: int
    next_ms: int


def require_state(state: str) -> None:
    """Raise Invalid for a state that a query cannot ask for: it is one of STATES, or `all`."""
    if state not in (*STATES, "all"):
        raise Invalid(f"state is one of {', '.join(STATES)}, all", path="state", reason="malformed")


async def list_deliveries(warehouse: Warehouse, query: DeliveryQuery) -> list[DeliveryEntry]:
    """Read the deliveries of a query, newest first. Raises Transient."""
    rows = await named_queries.fetch_rows(
        warehouse, "delivery_list", keys=list(query.keys), destination=query.destination, segment=query.segment,
        profile_id=query.profile_id, state=query.state, since_ms=query.since_ms, limit=query.limit, skip=query.skip,
    )  # fmt: skip
    return [DeliveryEntry(*row) for row in rows]


async def read_delivery(warehouse: Warehouse, key: str) -> tuple[DeliveryEntry, list[DeliveryStep]]:
    """Return a delivery and everything that became of it, in order. Raises Invalid when there is none with this key, Transient."""
    entries = await list_deliveries(warehouse, DeliveryQuery(keys=(key,), limit=1))
    if not entries:
        raise Invalid("no delivery has this key: see `onefold deliveries list`", path="key", reason="unknown_delivery")
    rows = await named_queries.fetch_rows(warehouse, "delivery_history", key=key)
    return entries[0], [DeliveryStep(*row) for row in rows]


def entry_to_json(entry: DeliveryEntry) -> dict[str, Any]:
    """Return a delivery for JSON."""
    return asdict(entry)


def history_to_json(entry: DeliveryEntry, steps: Sequence[DeliveryStep]) -> dict[str, Any]:
    """Return a delivery with everything that became of it, for JSON."""
    return {**asdict(entry), "history": [asdict(step) for step in steps]}
