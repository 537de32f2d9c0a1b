"""The profiles of each store, and one hash over all of them: what two stores must agree on. Pure but for the reads."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ops.rebuild import identity_state as ties
from ops.definitions_topic import Documents
from ops.rebuild.identity_state import Kept
from domain.identity import evidence
from domain.profiles import fragment as model
from profile_store import encoding as values
from domain.identity.evidence import Edges
from domain.identity.clusters import Evidence, members_of, resolve
from domain.profiles.fragment import Fragment
from profile_store.port import ProfileStore
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.settings import Settings
from schemas.events import EVENT_VERSION, Event
from schemas.identifiers import Identifier
from domain.definitions.kinds import IdentityRules
from domain.identity.rules import DEFAULT_RULES, Rules
from domain.segments.plan import Plan
from domain.segments.registers import Register

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(slots=True)
class State:
    """Fragments by owner, members by profile (of the linked ones), the profile of every labelled node, and how many labels
    contradict the members."""

    fragments: dict[str, Fragment] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    torn: int = 0

    def profiles(self) -> dict[str, tuple[str, ...]]:
        """Members of every profile: those of two or more, and every owner that belongs to none of them."""
        found = {
            profile_id: nodes
            for profile_id, nodes in self.members.items()
            if len(nodes) > 1 or any(node in self.fragments for node in nodes)
        }
        taken = {node for nodes in found.values() for node in nodes}
        return found | {owner: (owner,) for owner in self.fragments if owner not in taken}


def state_hash(state: State, registers: Mapping[str, Register]) -> str:
    """One hash over members, identifiers, traits, counters, accounts, first and last seen of all profiles, in their order, and over
    what they have in these registers."""
    total = hashlib.blake2b(digest_size=16)
    for profile_id, nodes in sorted(state.profiles().items()):
        joined = model.join((state.fragments[node] for node in nodes if node in state.fragments), registers, nodes)
        said = (
            profile_id,
            nodes,
            joined.identifiers,
            joined.traits,
            joined.counters,
            joined.accounts,
            joined.kept,
            joined.tallies,
            joined.first_seen_ms,
            joined.last_seen_ms,
        )
        total.update(hashlib.blake2b(_ENCODER.encode(said), digest_size=16).digest())
    total.update(str(state.torn).encode())
    return total.hexdigest()


async def of_redis(store: ProfileStore) -> State:
    """What the profile store holds. Labels and members say the same thing twice; where they contradict, `torn` counts."""
    state = State()
    async for owner, data in store.scan("fragment"):
        state.fragments[owner] = model.decode(data)
    async for profile_id, data in store.scan("members"):
        members = values.unpack_members(profile_id, data)
        if members.nodes:
            state.members[profile_id] = tuple(sorted(members.nodes))
    async for node, data in store.scan("label"):
        state.labels[node] = values.unpack_label(node, data).profile_id
    state.torn = torn(state.labels, state.members)
    return state


def torn(labels: Mapping[str, str], members: Mapping[str, tuple[str, ...]]) -> int:
    """How many labels and members contradict each other."""
    strays = sum(node not in members.get(profile_id, (profile_id,)) for node, profile_id in labels.items())
    return strays + sum(labels.get(node, node) != profile_id for profile_id, nodes in members.items() for node in nodes)


def differing(labels: Mapping[str, str], others: Mapping[str, str]) -> int:
    """Of how many nodes the profile differs. A node without a label is its own profile."""
    return sum(labels.get(node, node) != others.get(node, node) for node in labels.keys() | others.keys())


@dataclass(slots=True)
class Recomputed:
    """What ClickHouse's events, links and decisions come to."""

    state: State = field(default_factory=State)
    kept: Kept = field(default_factory=Kept)
    events: int = 0

    def take(self, event: Event, seen: Edges, plan: Plan) -> None:
        """Apply an event; what it is evidence for is noted in `seen`."""
        model.apply(self.state.fragments.setdefault(event.owner, Fragment()), event, plan)
        evidence.witness(seen, event)
        self.events += 1

    def cluster(self, rules: Rules) -> None:
        """Put labels and members as evidence, decisions and rules have them."""
        known = Evidence(self.kept.edges, self.kept.decisions, self._blocked(rules))
        self.state.labels = resolve(known, rules).labels
        self.state.members = members_of(self.state.labels)

    def _blocked(self, rules: Rules) -> set[str]:
        nodes = evidence.nodes_of(self.kept.edges)
        if not rules.patterns:
            return nodes & rules.blocked
        known: dict[str, Identifier] = {}
        for fragment in self.state.fragments.values():
            known.update(fragment.identifiers)
        return {node for node in nodes if rules.blocks(node, known.get(node))}


async def of_clickhouse(
    warehouse: Warehouse, plan: Plan, rules: Rules = DEFAULT_RULES, before: Mapping[int, int] | None = None
) -> Recomputed:
    """Apply every stored event and cluster all evidence, in memory. `before` leaves out events at or after a partition's offset."""
    recomputed, seen = Recomputed(kept=await ties.of_clickhouse(warehouse)), Edges()
    async for block in reads.stream(warehouse, "events"):
        for row in block:
            *fields, partition, offset = row
            if before is None or offset < before.get(partition, 0):
                recomputed.take(event_of(fields), seen, plan)
    ties.witnessed(recomputed.kept.edges, seen)
    recomputed.cluster(rules)
    return recomputed


def rules_of(settings: Settings, known: Documents) -> Rules:
    """The identity rules among these definitions, or the default ones."""
    secret, country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
    found = (definition for definition in known.values() if isinstance(definition, IdentityRules))
    definition = next(found, None)
    return DEFAULT_RULES if definition is None else Rules.of(definition.spec, secret=secret, country=country)


def event_of(row: Iterable[object]) -> Event:
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
