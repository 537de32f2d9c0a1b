"""Link: keep the evidence, compute the clusters it makes, write flat labels, and touch every profile concerned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from profile_store.identity import clusters, members_of
from profile_store.port import Edge, Label, Members, Place, ProfileStore, Writes
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.records import Link, Touched
from streams.outcome import Outcome
from streams.steps.common import decode_slice, touch

Edges = dict[tuple[str, str], Edge]


class LinkStep:
    """Reads `links` (one partition: one writer of labels)."""

    name = "link"
    topic = "links"

    def __init__(self, settings: Settings, store: ProfileStore) -> None:
        self._settings, self._store = settings, store

    async def run(self, place: Place, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the components that the links fall into, join the new evidence, relabel what changed."""
        links, bad = decode_slice(Link, records, self.name, self._settings, now_ms)
        standing = await self._store.standing(place)
        if standing.held:
            return Outcome(held=True)
        fresh = _evidence([link for _, link in links])
        known = await self._component({node for pair in fresh for node in pair})
        nodes = {node for pair in (*known, *fresh) for node in pair}
        labels = await self._store.labels(sorted(nodes))
        change = decide(known, fresh, labels, version=records[-1].offset + 1)
        touched = dict(change.touched)
        if records[0].offset < (standing.position or 0):
            # A replay: the crash may have come before the touches. Any node may be a profile that a merge has dissolved.
            touched = dict.fromkeys(sorted(nodes), "") | touched
        produce = [
            touch(
                self._settings,
                Touched(profile_id=profile_id, node=profile_id, cause="link", event_id=event_id, at_ms=now_ms),
            )
            for profile_id, event_id in touched.items()
        ]
        writes = Writes(labels=change.labels, members=change.members, edges=change.edges)
        results = Counter(links=len(links), quarantined=len(bad))
        return Outcome(standing.position, writes=writes, produce=(*produce, *bad), results=results)

    async def _component(self, seeds: set[str]) -> Edges:
        """All stored evidence connected with the seeds, level by level."""
        found: Edges = {}
        seen: set[str] = set()
        level = seeds
        while level:
            seen |= level
            neighbours: set[str] = set()
            for node, edges in (await self._store.edges(sorted(level))).items():
                for other, edge in edges.items():
                    found[(node, other) if node < other else (other, node)] = edge
                    neighbours.add(other)
            level = neighbours - seen
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """What new evidence changes. `touched`: profile id → the event that caused it."""

    edges: Edges
    labels: dict[str, Label]
    members: dict[str, Members]
    touched: dict[str, str]


def _evidence(links: Sequence[Link]) -> Edges:
    found: Edges = {}
    for link in links:
        edge = Edge(link.first_ms, link.last_day, link.event_id, link.source)
        held = found.get((link.a, link.b))
        found[link.a, link.b] = edge if held is None else held.join(edge)
    return found


def decide(known: Edges, fresh: Edges, labels: Mapping[str, Label], version: int) -> Change:
    """Pure. `known` holds whole components; labels of all their nodes are given."""
    edges = {pair: known[pair].join(edge) if pair in known else edge for pair, edge in fresh.items()}
    wanted = clusters(known | edges)
    moved = {node: profile_id for node, profile_id in wanted.items() if labels[node].profile_id != profile_id}
    if not moved:
        return Change({pair: edge for pair, edge in edges.items() if known.get(pair) != edge}, {}, {}, {})
    cause = max(edges.items(), key=lambda item: (item[1].first_ms, item[0]))[1].event_id
    version = max(version, 1 + max(labels[node].version for node in wanted))
    groups = members_of(wanted)
    concerned = {wanted[node] for node in moved} | {labels[node].profile_id for node in moved}
    members = {
        profile_id: Members(groups[profile_id], version)
        if profile_id in groups
        else Members((), version, merged_into=wanted[profile_id])
        for profile_id in concerned
    }
    relabelled = {node: Label(groups_id, version) for groups_id in concerned & groups.keys() for node in groups[groups_id]}
    return Change(
        edges={pair: edge for pair, edge in edges.items() if known.get(pair) != edge},
        labels=relabelled,
        members=members,
        touched=dict.fromkeys(sorted(concerned), cause),
    )
