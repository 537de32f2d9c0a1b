"""The law Stores are projections, checked by hashes of the state in Redis and of the state recomputed from ClickHouse."""

from dataclasses import dataclass

from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.identity.state import identity_hash
from domain.profiles.state import count_differing_labels, state_hash
from domain.segments.plan import SegmentPlan
from ops.rebuild.store_states import read_identity_from_redis, read_profiles_from_redis, recompute_from_clickhouse
from profile_store.port import ProfileStore
from warehouse import named_queries
from warehouse.client import Warehouse


@dataclass(frozen=True, slots=True)
class StoreComparison:
    """The hashes of both stores: one of the profiles, and one of the evidence with the decisions.

    `torn` counts labels and members of Redis that contradict each other. `labels_differ` counts nodes that Redis and
    ClickHouse have in different profiles. The stores agree when both pairs of hashes are equal and no label differs.
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


async def compare_stores(
    store: ProfileStore,
    warehouse: Warehouse,
    secret: bytes,
    rules: CompiledIdentityRules = DEFAULT_RULES,
    plan: SegmentPlan | None = None,
) -> StoreComparison:
    """Compare both stores as they are now, by the live identity rules and the live plan (None: the shipped computed traits alone).

    `secret` is the tenant's key of the node hash. Registers of definitions that are not live any more are not compared. When no
    event has come for some seconds the stores agree; while events flow, one of them may be ahead. Raises Transient when a store
    does not answer.
    """
    redis_profiles = await read_profiles_from_redis(store)
    redis_evidence = await read_identity_from_redis(store)
    plan = plan or SegmentPlan()
    recomputed = await recompute_from_clickhouse(warehouse, plan, secret, rules)
    # Fragments in Redis may still have registers of removed definitions. Recomputing by the live plan never makes those, so
    # they are left out of both hashes.
    redis, clickhouse = (
        state_hash(profile_contents, plan.registers, plan.retained) for profile_contents in (redis_profiles, recomputed.state)
    )
    evidence_redis, evidence_clickhouse = identity_hash(redis_evidence), identity_hash(recomputed.identity)
    labels_differ = count_differing_labels(redis_profiles.labels, dict(await named_queries.fetch_rows(warehouse, "known_labels")))
    return StoreComparison(
        redis=redis,
        clickhouse=clickhouse,
        agree=redis == clickhouse and evidence_redis == evidence_clickhouse and not labels_differ,
        profiles_redis=len(redis_profiles.profiles()),
        profiles_clickhouse=len(recomputed.state.profiles()),
        torn=redis_profiles.contradictions,
        evidence_redis=evidence_redis,
        evidence_clickhouse=evidence_clickhouse,
        labels_differ=labels_differ,
    )
