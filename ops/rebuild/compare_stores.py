"""Law 7, looked at: hashes of what Redis holds, and of what ClickHouse's events, links and decisions come to."""

from dataclasses import dataclass

from ops.rebuild import profile_state as state, identity_state as ties
from profile_store.port import ProfileStore
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from domain.identity.rules import DEFAULT_RULES, Rules
from domain.segments.plan import Plan


@dataclass(frozen=True, slots=True)
class Verified:
    """Hashes of each store, of its profiles and of its evidence with the decisions.

    `torn` counts labels and members of Redis that contradict each other, `labels_differ` the nodes that Redis and ClickHouse have
    in different profiles. The stores agree when the hashes do and no label differs.
    """

    redis: str
    clickhouse: str
    agree: bool
    profiles_redis: int
    profiles_clickhouse: int
    torn: int
    evidence_redis: str
    evidence_clickhouse: str
    labels_differ: int


async def verify(store: ProfileStore, warehouse: Warehouse, rules: Rules = DEFAULT_RULES, plan: Plan | None = None) -> Verified:
    """Both states now, by the identity rules and the plan that hold (None: the shipped computed traits alone).

    What a definition that is not live any more left in registers is not looked at. At a quiet moment the stores agree; while events
    flow, one may be ahead.

    Raises Transient when a store does not answer.
    """
    held, kept = await state.of_redis(store), await ties.of_redis(store)
    plan = plan or Plan()
    recomputed = await state.of_clickhouse(warehouse, plan, rules)
    redis, clickhouse = (state.state_hash(one, plan.registers) for one in (held, recomputed.state))
    evidence_redis, evidence_clickhouse = ties.kept_hash(kept), ties.kept_hash(recomputed.kept)
    labels_differ = state.differing(held.labels, dict(await reads.ask(warehouse, "known_labels")))
    return Verified(
        redis=redis,
        clickhouse=clickhouse,
        agree=redis == clickhouse and evidence_redis == evidence_clickhouse and not labels_differ,
        profiles_redis=len(held.profiles()),
        profiles_clickhouse=len(recomputed.state.profiles()),
        torn=held.torn,
        evidence_redis=evidence_redis,
        evidence_clickhouse=evidence_clickhouse,
        labels_differ=labels_differ,
    )
