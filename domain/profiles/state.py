"""The profiles of a whole store, one hash over all of them, and their recomputation from events. Pure.

**Why.** Redis and ClickHouse hold the same profiles in two ways: Redis as fragments, labels and member lists that agents keep
up to date, ClickHouse as the events, links and decisions that these came from. Both can be brought into the form of
`ProfileState`, and then one hash says whether they agree. A rebuild takes the state that was recomputed here and writes it
back to Redis.

**Invariant.** Two states have the same hash exactly when every profile has the same members and the same join of fragments.
The hash does not depend on the order in which the events came, on label versions, or on registers that no live definition
reads.

**Example.** A store has fragments of a cookie and of a customer, with a label each that says profile C, and the member list
C: both. The hash covers one profile C with two members. If the cookie's label is lost, the member list still names the
cookie: that is a contradiction, so `contradictions` is 1 and the hash is another one, although the join of the fragments has
not changed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from domain.identity.clusters import Evidence, members_of, resolve
from domain.identity.evidence import add_event_edges, event_pairs, nodes_of
from domain.identity.model import Edges
from domain.identity.rules import CompiledIdentityRules
from domain.identity.state import IdentityState
from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.join import join_fragments
from domain.segments.plan import SegmentPlan
from domain.segments.registers import Register
from domain.segments.retained_names import COMMON_NAMES, RetainedNames
from schemas.events import NOBODY, Event
from schemas.identifiers import Identifier

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(slots=True)
class ProfileState:
    """All profiles of one store.

    `fragments` are by owner. `members` are the nodes by profile id, of profiles that evidence made. `labels` are the profile
    ids by node. `contradictions` counts the labels and members that contradict each other.
    """

    fragments: dict[str, Fragment] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    contradictions: int = 0

    def profiles(self) -> dict[str, tuple[str, ...]]:
        """Return the members of every profile by profile id; an owner that was never linked is a profile of its own."""
        linked_profiles = {
            profile_id: nodes
            for profile_id, nodes in self.members.items()
            # A list of one node without a fragment is what a split has left over: there is no profile behind it.
            if len(nodes) > 1 or any(node in self.fragments for node in nodes)
        }
        linked_nodes = {node for nodes in linked_profiles.values() for node in nodes}
        return linked_profiles | {owner: (owner,) for owner in self.fragments if owner not in linked_nodes}


def state_hash(state: ProfileState, registers: Mapping[str, Register], retained: RetainedNames = COMMON_NAMES) -> str:
    """Return a hash over the members and the join of every profile, with these registers and no others, and these retained names.

    `registers` and `retained` are those of the live plan. What a removed definition has left in some fragments is not compared:
    Redis drops it when it happens to write the fragment again, and ClickHouse never had it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for profile_id, nodes in sorted(state.profiles().items()):
        # A member has no fragment when it never owned an event: it was named beside an identifier that comes first as an owner.
        joined = join_fragments((state.fragments[node] for node in nodes if node in state.fragments), registers, nodes, retained)
        content = (
            profile_id,
            nodes,
            joined.identifiers,
            joined.traits,
            joined.counters,
            joined.accounts,
            joined.register_entries,
            joined.tallies,
            joined.first_seen_ms,
            joined.last_seen_ms,
        )
        # A digest of each profile, so that the bytes of two neighbours cannot be cut in two ways.
        digest.update(hashlib.blake2b(_ENCODER.encode(content), digest_size=16).digest())
    digest.update(str(state.contradictions).encode())
    return digest.hexdigest()


def count_contradictions(labels: Mapping[str, str], members: Mapping[str, tuple[str, ...]]) -> int:
    """Return how many labels name a profile that does not list the node, and how many listed nodes have another label."""
    # A missing entry means what the store answers for it: a profile without a list has its own node as its only member, and a node
    # without a label is a profile of its own.
    stray_labels = sum(node not in members.get(profile_id, (profile_id,)) for node, profile_id in labels.items())
    return stray_labels + sum(labels.get(node, node) != profile_id for profile_id, nodes in members.items() for node in nodes)


def count_differing_labels(labels: Mapping[str, str], others: Mapping[str, str]) -> int:
    """Return how many nodes two stores have in different profiles. A node without a label is its own profile."""
    return sum(labels.get(node, node) != others.get(node, node) for node in labels.keys() | others.keys())


@dataclass(slots=True)
class RecomputedState:
    """The state that follows from stored events, links and decisions, filled by `apply_event` for each event and then by `cluster`.

    `events` counts the events.
    """

    state: ProfileState = field(default_factory=ProfileState)
    identity: IdentityState = field(default_factory=IdentityState)
    events: int = 0

    def apply_event(self, event: Event, witnessed_edges: Edges, plan: SegmentPlan, secret: bytes) -> None:
        """Apply an event to its owner's fragment, and add the pairs that it is evidence for to `witnessed_edges`.

        `secret` is the tenant's key of the node hash. An event that nobody owns changes no profile.
        """
        self.events += 1
        if event.owner == NOBODY:
            return
        apply_event(self.state.fragments.setdefault(event.owner, Fragment()), event, plan, event_pairs(event, secret))
        add_event_edges(witnessed_edges, event, secret)

    def cluster(self, rules: CompiledIdentityRules) -> None:
        """Resolve the evidence and the decisions by these rules, and set labels and members; call this after the last event."""
        all_evidence = Evidence(self.identity.edges, self.identity.decisions, self._blocked_nodes(rules))
        self.state.labels = resolve(all_evidence, rules).labels
        self.state.members = members_of(self.state.labels)

    def _blocked_nodes(self, rules: CompiledIdentityRules) -> set[str]:
        nodes = nodes_of(self.identity.edges)
        if not rules.patterns:
            return rules.blocked_among(nodes)
        # A pattern is matched against the value, and a node is only a keyed hash of it. The fragments know the values: those of the
        # owners of the first events of its edges, as `profile_store.identity_loader` asks them.
        owners: dict[str, set[str]] = {node: {node} for node in nodes}
        for (a, b), edge in self.identity.edges.items():
            owners[a].add(edge.owner)
            owners[b].add(edge.owner)
        return {node for node in nodes if rules.is_blocked(node, self._identifier_of(node, sorted(owners[node])))}

    def _identifier_of(self, node: str, owners: Iterable[str]) -> Identifier | None:
        fragments = (self.state.fragments[owner] for owner in owners if owner in self.state.fragments)
        return next((fragment.identifiers[node] for fragment in fragments if node in fragment.identifiers), None)
