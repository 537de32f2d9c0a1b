"""The store's twin in memory: the same promises in one process, for tests and dry runs."""

from collections.abc import AsyncGenerator, Collection, Sequence

from profile_store.keys import HOLD_MS, LETTERS
from profile_store.port import DEFINITIONS, Document, Kind, Label, Members, Place, Scanned, Standing, Ties, Writes
from profile_store.encoding import (check_guard, decision_field, pack_decision, pack_edge, pack_label, pack_members, ties_as_scanned, unpack_ties)
from runtime.clock import Clock
from runtime.errors import StateLost


class MemoryStore:
    """A ProfileStore in dictionaries. No method gives way to another task, so each is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._documents: dict[Kind, dict[str, Document]] = {"fragment": {}, "membership": {}, "group": {}, "unsaid": {}}
        self._labels: dict[str, Label] = {}
        self._members: dict[str, Members] = {}
        self._ties: dict[str, dict[bytes, bytes]] = {}
        self._timers: dict[str, dict[str, int]] = {}
        self._positions: dict[str, int] = {}
        self._fences: dict[str, int] = {}
        self._deliveries: dict[str, int] = {}
        self._held_until_ms = 0

    async def standing(self, place: Place) -> Standing:
        return Standing(
            self._positions.get(place.name),
            self._clock.now_ms() < self._held_until_ms,
            self._fences.get(place.name, 0),
            self._positions.get(DEFINITIONS.name, 0),
        )

    async def load(
        self, place: Place, kind: Kind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Standing, dict[str, Document], dict[str, Label]]:
        return await self.standing(place), await self.documents(kind, ids), await self.labels(labels)

    async def documents(self, kind: Kind, ids: Sequence[str]) -> dict[str, Document]:
        return {name: self._documents[kind].get(name, Document()) for name in ids}

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        return {node: self._labels.get(node, Label(node, 0)) for node in nodes}

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        return {name: self._members.get(name, Members((name,), 0)) for name in profile_ids}

    async def ties(self, nodes: Sequence[str]) -> dict[str, Ties]:
        return {node: unpack_ties(self._ties.get(node, {})) for node in nodes}

    async def save(
        self, place: Place, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[Kind, str]]:
        for document in writes.documents.values():
            check_guard(document)
        if self._positions.get(place.name) != expected:
            raise StateLost(f"{place.name}: the stored position is another than the one this worker has seen")
        if fence is not None and self._fences.get(place.name, 0) != fence:
            raise StateLost(f"{place.name}: its writers were shut out since this worker loaded")
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
            self._tie(a, b, pack_edge(edge))
            self._tie(b, a, pack_edge(edge))
        for (decided, a, b), decision in writes.decisions.items():
            self._tie(a, decision_field(decided, b), pack_decision(decision))
            self._tie(b, decision_field(decided, a), pack_decision(decision))
        timers = self._timers.setdefault(place.name, {})
        for profile_id, due_ms in writes.timers.items():
            if due_ms is None:
                timers.pop(profile_id, None)
            else:
                timers[profile_id] = due_ms
        self._positions[place.name] = position
        return frozenset(refused)

    async def shut_out(self, place: Place) -> Standing:
        self._fences[place.name] = self._fences.get(place.name, 0) + 1
        return await self.standing(place)

    def _tie(self, node: str, field: str, value: bytes) -> None:
        self._ties.setdefault(node, {})[field.encode()] = value

    async def due_timers(self, place: Place, until_ms: int, limit: int) -> list[tuple[str, int]]:
        timers = self._timers.get(place.name, {})
        due = [(profile_id, due_ms) for profile_id, due_ms in timers.items() if due_ms <= until_ms]
        return sorted(due, key=lambda timer: (timer[1], timer[0]))[:limit]

    async def next_timer(self, place: Place, after_ms: int | None = None) -> int | None:
        timers = self._timers.get(place.name, {}).values()
        return min((due_ms for due_ms in timers if after_ms is None or due_ms > after_ms), default=None)

    async def claim_delivery(self, key: str) -> bool:
        return self._deliveries.get(key, 0) <= self._clock.now_ms()

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        self._deliveries[key] = self._clock.now_ms() + ttl_ms

    async def hold(self, on: bool) -> None:  # noqa: FBT001 - a switch, as the port has it
        self._held_until_ms = self._clock.now_ms() + HOLD_MS if on else 0

    async def scan(self, kind: Scanned) -> AsyncGenerator[tuple[str, bytes], None]:
        pairs: list[tuple[str, bytes]]
        if kind == "label":
            pairs = [(node, pack_label(label)) for node, label in self._labels.items()]
        elif kind == "members":
            pairs = [(profile_id, pack_members(members)) for profile_id, members in self._members.items()]
        elif kind == "edges":
            pairs = [(node, ties_as_scanned(fields)) for node, fields in self._ties.items()]
        else:
            pairs = [(name, d.data) for name, d in self._documents[kind].items() if d.data is not None]
        for pair in pairs:
            yield pair

    async def wipe(self, kinds: Collection[str]) -> None:
        entries = {
            "fragment": self._documents["fragment"],
            "membership": self._documents["membership"],
            "group": self._documents["group"],
            "unsaid": self._documents["unsaid"],
            "label": self._labels,
            "members": self._members,
            "edges": self._ties,
            "timer": self._timers,
            "position": self._positions,
            "fence": self._fences,
        }
        unknown = set(kinds) - LETTERS.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)} cannot be wiped: the kinds are {', '.join(LETTERS)}")
        for kind in kinds:
            entries[kind].clear()  # type: ignore[attr-defined]  # dicts of several value types have no common clear

    async def ping(self) -> None:
        return

    async def aclose(self) -> None:
        return
