"""The profiles of each store, and one hash over all of them: what two stores must agree on. Pure but for the reads."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from domain.definitions.kinds import IdentityRules
from domain.identity.clusters import Evidence, members_of, resolve
from domain.identity.evidence import add_event_edges, nodes_of
from domain.identity.model import Edges
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.profiles.fragment import Fragment, apply_event, decode_fragment
from domain.profiles.join import join_fragments
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register
from ops.definitions_topic import DefinitionsByKey
from ops.rebuild import identity_state as ties
from ops.rebuild.identity_state import IdentityState
from profile_store import encoding
from profile_store.port import ProfileStore
from runtime.settings import Settings
from schemas.events import EVENT_VERSION, Event
from schemas.identifiers import Identifier
from warehouse import named_queries
from warehouse.client import Warehouse

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(slots=True)
class ProfileState:
    """Fragments by owner, members by profile (of the linked ones), the profile of every labelled node, and how many labels
    contradict the members."""

    fragments: dict[str, Fragment] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    contradictions: int = 0

    def profiles(self) -> dict[str, tuple[str, ...]]:
        """Members of every profile: those of two or more, and every owner that belongs to none of them."""
        linked_profiles = {
            profile_id: nodes
            for profile_id, nodes in self.members.items()
            if len(nodes) > 1 or any(node in self.fragments for node in nodes)
        }
        linked_nodes = {node for nodes in linked_profiles.values() for node in nodes}
        return linked_profiles | {owner: (owner,) for owner in self.fragments if owner not in linked_nodes}


def state_hash(state: ProfileState, registers: Mapping[str, Register]) -> str:
    """One hash over members, identifiers, traits, counters, accounts, first and last seen of all profiles, in their order, and over
    what they have in these registers."""
    digest = hashlib.blake2b(digest_size=16)
    for profile_id, nodes in sorted(state.profiles().items()):
        joined = join_fragments((state.fragments[node] for node in nodes if node in state.fragments), registers, nodes)
        content = (
            profile_id,
            nodes,
            joined.identifiers,
            joined.traits,
            joined.counters,
            joined.accounts,
            joined.entries_by_register,
            joined.tallies,
            joined.first_seen_ms,
            joined.last_seen_ms,
        )
        digest.update(hashlib.blake2b(_ENCODER.encode(content), digest_size=16).digest())
    digest.update(str(state.contradictions).encode())
    return digest.hexdigest()


async def read_redis(store: ProfileStore) -> ProfileState:
    """What the profile store holds. Labels and members say the same thing twice; where they contradict, `torn` counts."""
    state = ProfileState()
    async for owner, data in store.scan("fragment"):
        state.fragments[owner] = decode_fragment(data)
    async for profile_id, data in store.scan("members"):
        members = encoding.unpack_members(profile_id, data)
        if members.nodes:
            state.members[profile_id] = tuple(sorted(members.nodes))
    async for node, data in store.scan("label"):
        state.labels[node] = encoding.unpack_label(node, data).profile_id
    state.contradictions = count_contradictions(state.labels, state.members)
    return state


def count_contradictions(labels: Mapping[str, str], members: Mapping[str, tuple[str, ...]]) -> int:
    """How many labels and members contradict each other."""
    stray_labels = sum(node not in members.get(profile_id, (profile_id,)) for node, profile_id in labels.items())
    return stray_labels + sum(labels.get(node, node) != profile_id for profile_id, nodes in members.items() for node in nodes)


def count_differing_labels(labels: Mapping[str, str], others: Mapping[str, str]) -> int:
    """Of how many nodes the profile differs. A node without a label is its own profile."""
    return sum(labels.get(node, node) != others.get(node, node) for node in labels.keys() | others.keys())


@dataclass(slots=True)
class RecomputedState:
    """What ClickHouse's events, links and decisions come to."""

    state: ProfileState = field(default_factory=ProfileState)
    identity: IdentityState = field(default_factory=IdentityState)
    events: int = 0

    def apply_event(self, event: Event, witnessed_edges: Edges, plan: SegmentPlan) -> None:
        """Apply an event; what it is evidence for is noted in `witnessed_edges`."""
        apply_event(self.state.fragments.setdefault(event.owner, Fragment()), event, plan)
        add_event_edges(witnessed_edges, event)
        self.events += 1

    def cluster(self, rules: CompiledIdentityRules) -> None:
        """Put labels and members as evidence, decisions and rules have them."""
        all_evidence = Evidence(self.identity.edges, self.identity.decisions, self._blocked_nodes(rules))
        self.state.labels = resolve(all_evidence, rules).labels
        self.state.members = members_of(self.state.labels)

    def _blocked_nodes(self, rules: CompiledIdentityRules) -> set[str]:
        nodes = nodes_of(self.identity.edges)
        if not rules.patterns:
            return nodes & rules.blocked
        identifiers: dict[str, Identifier] = {}
        for fragment in self.state.fragments.values():
            identifiers.update(fragment.identifiers)
        return {node for node in nodes if rules.is_blocked(node, identifiers.get(node))}


async def recompute_from_clickhouse(
    warehouse: Warehouse,
    plan: SegmentPlan,
    rules: CompiledIdentityRules = DEFAULT_RULES,
    end_offsets: Mapping[int, int] | None = None,
) -> RecomputedState:
    """Apply every stored event and cluster all evidence, in memory. `end_offsets` leaves out events at or after a partition's
    offset."""
    recomputed, witnessed_edges = RecomputedState(identity=await ties.read_clickhouse(warehouse)), Edges()
    async for block in named_queries.stream_rows(warehouse, "events"):
        for row in block:
            *fields, partition, offset = row
            if end_offsets is None or offset < end_offsets.get(partition, 0):
                recomputed.apply_event(event_from_row(fields), witnessed_edges, plan)
    ties.merge_event_evidence(recomputed.identity.edges, witnessed_edges)
    recomputed.cluster(rules)
    return recomputed


def identity_rules_of(settings: Settings, definitions: DefinitionsByKey) -> CompiledIdentityRules:
    """The identity rules among these definitions, or the default ones."""
    secret, country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
    matches = (definition for definition in definitions.values() if isinstance(definition, IdentityRules))
    definition = next(matches, None)
    return DEFAULT_RULES if definition is None else CompiledIdentityRules.from_spec(definition.spec, secret=secret, country=country)


def event_from_row(row: Iterable[object]) -> Event:
    """An event from its row of the named read `events`."""
    owner, message, kind, name, source, time_ms, received_ms, nodes, identifiers, properties, traits, context, flags = row
    return msgspec.convert(
        {
            "version": EVENT_VERSION,
            "id": message,
            "type": kind,
            "name": name,
            "source": source,
            "time_ms": time_ms,
            "received_ms": received_ms,
            "owner": owner,
            "nodes": nodes,
            "identifiers": identifiers,
            "properties": msgspec.json.decode(str(properties)),
            "traits": msgspec.json.decode(str(traits)),
            "context": msgspec.json.decode(str(context)),
            "flags": flags,
        },
        Event,
    )
