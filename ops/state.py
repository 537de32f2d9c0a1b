"""The profiles of each store, and one hash over all of them: what two stores must agree on. Pure but for the reads."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from profile_store import evidence, model, values
from profile_store.identity import Evidence, members_of, resolve
from profile_store.model import Fragment
from profile_store.port import Edge, ProfileStore
from profile_store.warehouse import reads
from profile_store.warehouse.client import Warehouse
from schemas.events import Event
from segments.identity import DEFAULT_RULES
from segments.plan import Plan

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
Edges = dict[tuple[str, str], Edge]


@dataclass(slots=True)
class State:
    """Fragments by owner, members by profile (of the linked ones), and how many labels contradict the members."""

    fragments: dict[str, Fragment] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
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


def state_hash(state: State) -> str:
    """One hash over members, identifiers, traits, counters, first and last seen of every profile, whatever the order of reading."""
    total = hashlib.blake2b(digest_size=16)
    for profile_id, nodes in sorted(state.profiles().items()):
        joined = model.join((state.fragments[node] for node in nodes if node in state.fragments), {}, nodes)
        said = (
            profile_id,
            nodes,
            joined.identifiers,
            joined.traits,
            joined.counters,
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
    labels: dict[str, str] = {}
    async for node, data in store.scan("label"):
        labels[node] = values.unpack_label(node, data).profile_id
    state.torn = torn(labels, state.members)
    return state


def torn(labels: Mapping[str, str], members: Mapping[str, tuple[str, ...]]) -> int:
    """How many labels and members contradict each other."""
    strays = sum(node not in members.get(profile_id, (profile_id,)) for node, profile_id in labels.items())
    return strays + sum(labels.get(node, node) != profile_id for profile_id, nodes in members.items() for node in nodes)


@dataclass(slots=True)
class Recomputed:
    """What ClickHouse's events and links come to. `edges` are the evidence, `state` the profiles."""

    state: State
    edges: Edges
    events: int


async def of_clickhouse(warehouse: Warehouse, plan: Plan, before: Mapping[int, int] | None = None) -> Recomputed:
    """Apply every stored event and cluster all evidence, in memory. `before` leaves out events at or after a partition's offset."""
    state, edges, count = State(), await links(warehouse), 0
    async for block in reads.stream(warehouse, "events"):
        for row in block:
            *fields, partition, offset = row
            if before is not None and offset >= before.get(partition, 0):
                continue
            event = event_of(fields)
            model.apply(state.fragments.setdefault(event.owner, Fragment()), event, plan)
            evidence.witness(edges, event)
            count += 1
    state.members = members_of(resolve(Evidence(edges), DEFAULT_RULES).labels)
    return Recomputed(state, edges, count)


async def links(warehouse: Warehouse) -> Edges:
    """The evidence that reached ClickHouse as links."""
    return {(a, b): Edge(*rest) for a, b, *rest in await reads.ask(warehouse, "evidence")}


def event_of(row: Iterable[object]) -> Event:
    """An event from its row of the named read `events`."""
    owner, message, kind, name, source, time_ms, received_ms, nodes, identifiers, properties, traits, context = row
    return msgspec.convert(
        {
            "version": 1,
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
        },
        Event,
    )
