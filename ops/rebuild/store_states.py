"""Reading the state of both stores into the same form, so that they can be compared and one can be rebuilt from the other."""

from collections.abc import Mapping
from typing import Final

from domain.identity.evidence import add_edge
from domain.identity.model import Decision, DecisionKind, Edge, Edges, ordered_pair
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.identity.state import IdentityState, merge_event_evidence
from domain.profiles.fragment import decode_fragment
from domain.profiles.state import ProfileState, RecomputedState, count_contradictions
from domain.segments.plan import SegmentPlan
from profile_store import encoding
from profile_store.port import ProfileStore
from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.rows import event_from_row

_KINDS: Final[tuple[DecisionKind, ...]] = ("cut", "apart")


async def read_profiles_from_redis(store: ProfileStore) -> ProfileState:
    """Read all fragments, member lists and labels of the profile store.

    A scan is no snapshot: while workers write, labels and members of a merge may be read from before and after it, which then
    counts as a contradiction. Raises Transient when the store does not answer.
    """
    state = ProfileState()
    async for owner, data in store.scan("fragment"):
        state.fragments[owner] = decode_fragment(data)
    async for profile_id, data in store.scan("members"):
        members = encoding.unpack_members(profile_id, data)
        # A profile that was merged away still has an entry, without nodes, which leads readers of its id on.
        if members.nodes:
            state.members[profile_id] = tuple(sorted(members.nodes))
    async for node, data in store.scan("label"):
        state.labels[node] = encoding.unpack_label(node, data).profile_id
    state.contradictions = count_contradictions(state.labels, state.members)
    return state


async def read_identity_from_redis(store: ProfileStore) -> IdentityState:
    """Read all evidence and decisions of the profile store. Raises Transient when the store does not answer."""
    fields: dict[str, dict[str, Edge | Decision]] = {}
    async for node, data in store.scan("edges"):
        fields[node] = encoding.unpack_scanned_neighbours(data)
    return merge_node_fields(fields)


def merge_node_fields(fields: Mapping[str, Mapping[str, Edge | Decision]]) -> IdentityState:
    """Merge what each node has about its neighbours into one state by pair. Pure.

    Redis keeps a pair at both of its nodes, so each is read twice and must be the same twice. A crowded node is missing in
    `fields`, because a scan leaves out nodes with too many neighbours: its pairs come from the other side alone, and
    contradict nothing.
    """
    state = IdentityState()
    for node, node_fields in fields.items():
        for name, value in node_fields.items():
            # The field of an edge is the neighbour; that of a decision is a letter for its kind, then the neighbour.
            prefix, other = ("", name) if isinstance(value, Edge) else (name[0], name[1:])
            if isinstance(value, Edge):
                add_edge(state.edges, ordered_pair(node, other), value)
            else:
                key = (_kind_of(name), *ordered_pair(node, other))
                earlier = state.decisions.get(key)
                state.decisions[key] = value if earlier is None else earlier.join(value)
            if other in fields and fields[other].get(prefix + node) != value:
                state.contradictions += 1
    return state


def _kind_of(name: str) -> DecisionKind:
    return next(kind for kind in _KINDS if encoding.decision_field(kind, name[1:]) == name)


async def read_identity_from_clickhouse(warehouse: Warehouse) -> IdentityState:
    """Read the evidence and the decisions that ClickHouse has consumed from `links`. Raises Transient."""
    edges = {(a, b): Edge(*rest) for a, b, *rest in await named_queries.fetch_rows(warehouse, "evidence")}
    decisions = {(kind, a, b): Decision(*rest) for kind, a, b, *rest in await named_queries.fetch_rows(warehouse, "decisions")}
    return IdentityState(edges, decisions)


async def recompute_from_clickhouse(
    warehouse: Warehouse,
    plan: SegmentPlan,
    secret: bytes,
    rules: CompiledIdentityRules = DEFAULT_RULES,
    end_offsets: Mapping[int, int] | None = None,
) -> RecomputedState:
    """Apply every event that ClickHouse has and cluster all evidence, in memory. Raises Transient when ClickHouse does not answer.

    `secret` is the tenant's key of the node hash. `end_offsets` leaves out, by partition of `events`, the events at that offset and
    after it; None takes all.
    """
    recomputed = RecomputedState(identity=await read_identity_from_clickhouse(warehouse))
    witnessed_edges = Edges()
    async for block in named_queries.stream_rows(warehouse, "events"):
        for row in block:
            *fields, partition, offset = row
            if end_offsets is None or offset < end_offsets.get(partition, 0):
                recomputed.apply_event(event_from_row(fields), witnessed_edges, plan, secret)
    # An event can be stored before its link record is consumed: the event is evidence by itself.
    merge_event_evidence(recomputed.identity.edges, witnessed_edges)
    recomputed.cluster(rules)
    return recomputed
