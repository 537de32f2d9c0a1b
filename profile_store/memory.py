"""A profile store in memory with the promises of the port, for tests, dry runs and previews."""

from collections.abc import AsyncGenerator, Collection, Sequence

from domain.identity.model import Label, Members, Neighbours
from profile_store.encoding import (
    FieldKind,
    check_guard,
    decision_field,
    edge_field_kind,
    pack_decision,
    pack_edge,
    pack_label,
    pack_members,
    pack_scanned_neighbours,
    unpack_neighbours,
)
from profile_store.keys import KIND_LETTERS, WRITER_PAUSE_MS
from profile_store.port import (
    DEFINITIONS_PARTITION,
    Checkpoint,
    DocumentKind,
    GuardedDocument,
    ScannableKind,
    TopicPartition,
    Writes,
)
from runtime.bus.epochs import AdoptedLog
from runtime.clock import Clock
from runtime.errors import StateLost


class MemoryStore:
    """A ProfileStore in dictionaries. No method lets another task run before it returns, so each method is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._documents: dict[DocumentKind, dict[str, GuardedDocument]] = {
            "fragment": {},
            "membership": {},
            "group": {},
            "link_outbox": {},
            "backfill_checkpoint": {},
        }
        self._labels: dict[str, Label] = {}
        self._members: dict[str, Members] = {}
        self._neighbour_fields: dict[FieldKind, dict[str, dict[bytes, bytes]]] = {"edges": {}, "public_edges": {}}
        self._timers: dict[str, dict[str, int]] = {}
        self._positions: dict[str, int] = {}
        self._fences: dict[str, int] = {}
        self._deliveries: dict[str, int] = {}
        self._runs: dict[str, int] = {}
        self._paused_until_ms = 0
        self._adopted_log: AdoptedLog | None = None

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        return Checkpoint(
            self._positions.get(topic_partition.guard_name),
            self._clock.now_ms() < self._paused_until_ms,
            self._fences.get(topic_partition.guard_name, 0),
            self._positions.get(DEFINITIONS_PARTITION.guard_name, 0),
        )

    async def load(
        self, topic_partition: TopicPartition, kind: DocumentKind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Checkpoint, dict[str, GuardedDocument], dict[str, Label]]:
        return await self.checkpoint(topic_partition), await self.documents(kind, ids), await self.labels(labels)

    async def documents(self, kind: DocumentKind, ids: Sequence[str]) -> dict[str, GuardedDocument]:
        return {name: self._documents[kind].get(name, GuardedDocument()) for name in ids}

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        return {node: self._labels.get(node, Label(node, 0)) for node in nodes}

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        return {name: self._members.get(name, Members((name,), 0)) for name in profile_ids}

    async def neighbours(self, nodes: Sequence[str]) -> dict[str, Neighbours]:
        return {node: unpack_neighbours(*(hashes.get(node, {}) for hashes in self._neighbour_fields.values())) for node in nodes}

    async def save(
        self, topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        for document in writes.documents.values():
            check_guard(document)
        if self._positions.get(topic_partition.guard_name) != expected:
            raise StateLost(f"{topic_partition.guard_name}: the stored position is another than the one this worker has seen")
        if fence is not None and self._fences.get(topic_partition.guard_name, 0) != fence:
            raise StateLost(f"{topic_partition.guard_name}: its writers were fenced since this worker loaded")
        refused = set()
        for (kind, name), document in writes.documents.items():
            stored = self._documents[kind].get(name)
            if stored is not None and stored.guard == document.guard and stored.offset >= document.offset:
                refused.add((kind, name))
            else:
                self._documents[kind][name] = document
        self._labels.update(writes.labels)
        self._members.update(writes.members)
        for (a, b), edge in writes.edges.items():
            self._set_neighbour_field(edge_field_kind(edge), a, b, pack_edge(edge))
            self._set_neighbour_field(edge_field_kind(edge), b, a, pack_edge(edge))
        for (decision_kind, a, b), decision in writes.decisions.items():
            self._set_neighbour_field("edges", a, decision_field(decision_kind, b), pack_decision(decision))
            self._set_neighbour_field("edges", b, decision_field(decision_kind, a), pack_decision(decision))
        timers = self._timers.setdefault(topic_partition.guard_name, {})
        for profile_id, due_ms in writes.timers.items():
            if due_ms is None:
                timers.pop(profile_id, None)
            else:
                timers[profile_id] = due_ms
        self._positions[topic_partition.guard_name] = position
        return frozenset(refused)

    async def fence_writers(self, topic_partition: TopicPartition) -> Checkpoint:
        self._fences[topic_partition.guard_name] = self._fences.get(topic_partition.guard_name, 0) + 1
        return await self.checkpoint(topic_partition)

    def _set_neighbour_field(self, kind: FieldKind, node: str, field: str, value: bytes) -> None:
        self._neighbour_fields[kind].setdefault(node, {})[field.encode()] = value

    async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
        timers = self._timers.get(topic_partition.guard_name, {})
        due = [(profile_id, due_ms) for profile_id, due_ms in timers.items() if due_ms <= until_ms]
        return sorted(due, key=lambda timer: (timer[1], timer[0]))[:limit]

    async def next_timer(self, topic_partition: TopicPartition, after_ms: int | None = None) -> int | None:
        timers = self._timers.get(topic_partition.guard_name, {}).values()
        return min((due_ms for due_ms in timers if after_ms is None or due_ms > after_ms), default=None)

    async def is_delivery_open(self, key: str) -> bool:
        return self._deliveries.get(key, 0) <= self._clock.now_ms()

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        self._deliveries[key] = self._clock.now_ms() + ttl_ms

    async def claim_run(self, name: str, ttl_ms: int) -> bool:
        now_ms = self._clock.now_ms()
        if self._runs.get(name, 0) > now_ms:
            return False
        self._runs[name] = now_ms + ttl_ms
        return True

    async def pause_writers(self, paused: bool) -> None:  # noqa: FBT001 - a switch, as the port has it
        self._paused_until_ms = self._clock.now_ms() + WRITER_PAUSE_MS if paused else 0

    async def scan(self, kind: ScannableKind) -> AsyncGenerator[tuple[str, bytes], None]:
        pairs: list[tuple[str, bytes]]
        if kind == "label":
            pairs = [(node, pack_label(label)) for node, label in self._labels.items()]
        elif kind == "members":
            pairs = [(profile_id, pack_members(members)) for profile_id, members in self._members.items()]
        elif kind == "edges":
            hashes, public_hashes = self._neighbour_fields.values()
            pairs = [
                (node, pack_scanned_neighbours(hashes.get(node, {}), public_hashes.get(node, {})))
                for node in hashes.keys() | public_hashes.keys()
            ]
        else:
            pairs = [(name, d.data) for name, d in self._documents[kind].items() if d.data is not None]
        for pair in pairs:
            yield pair

    async def wipe(self, kinds: Collection[str]) -> None:
        entries = {
            "fragment": self._documents["fragment"],
            "membership": self._documents["membership"],
            "group": self._documents["group"],
            "link_outbox": self._documents["link_outbox"],
            "backfill_checkpoint": self._documents["backfill_checkpoint"],
            "label": self._labels,
            "members": self._members,
            "edges": self._neighbour_fields["edges"],
            "public_edges": self._neighbour_fields["public_edges"],
            "timer": self._timers,
            "position": self._positions,
            "fence": self._fences,
        }
        unknown = set(kinds) - KIND_LETTERS.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)} cannot be wiped: the kinds are {', '.join(KIND_LETTERS)}")
        for kind in kinds:
            entries[kind].clear()  # type: ignore[attr-defined]  # dicts of several value types have no common clear

    async def adopted_log(self) -> AdoptedLog | None:
        return self._adopted_log

    async def adopt_log(self, adopted: AdoptedLog) -> None:
        self._adopted_log = adopted

    async def ping(self) -> None:
        return

    async def aclose(self) -> None:
        return
