"""Streaming equals SQL, checked: the stream's members of each segment and those of ClickHouse's SQL at one instant."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.identity.rules import CompiledIdentityRules
from domain.profiles.membership import decode_membership
from domain.segments.explain import SegmentExplainer
from domain.segments.plan import SegmentPlan
from domain.segments.sql.query import SqlQuery
from ops.segments import profile_snapshot as person
from ops.touches import ProfileToucher
from profile_store.agent_waiter import AGENT_TIMEOUT_S
from profile_store.port import ProfileStore
from runtime.bus.port import Bus
from runtime.chunks import chunked
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.records import Touched
from warehouse.client import Warehouse

MAX_COMPARISONS: Final = 5
"""How often profiles that differ are looked at: what differs once may be an event on its way."""
PAUSE_S: Final = 3.0
"""Between two looks: longer than an event, a label or a timer takes to reach both stores."""
CHUNK: Final = 1_000
"""Profiles that one query to a store names."""
MAX_EXPLAINED: Final = 200
"""Of how many differing profiles of a segment the cause is looked for."""


@dataclass(frozen=True, slots=True)
class DifferingProfiles:
    """Profiles that only one of the two has in a segment."""

    stream: frozenset[str] = frozenset()
    sql: frozenset[str] = frozenset()

    @property
    def profiles(self) -> frozenset[str]:
        """All of them."""
        return self.stream | self.sql


@dataclass(frozen=True, slots=True)
class DriftCauses:
    """Why profiles differ, of the first MOST_EXPLAINED: a register was too small (`approximate`; `leaves` are those, in words, with
    how many profiles each); an evaluation would mend it (`stale`); the registers hold something else than history (`registers`)."""

    approximate: int = 0
    stale: int = 0
    registers: int = 0
    leaves: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentComparison:
    """One segment: how many profiles both have in it, and those that kept differing."""

    segment: str
    version: str
    both: int
    differing: DifferingProfiles = DifferingProfiles()
    causes: DriftCauses = DriftCauses()

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return not self.differing.profiles


@dataclass(frozen=True, slots=True)
class SegmentVerification:
    """All segments that were looked at, in order; how often, and the instant of the last look. `repaired` is how many profiles were
    evaluated anew, None when that was not asked for."""

    segments: tuple[SegmentComparison, ...]
    comparisons: int
    at_ms: int
    repaired: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether stream and SQL say the same of all."""
        return all(segment.agrees for segment in self.segments)


@dataclass(frozen=True, slots=True)
class SegmentVerifier:
    """`membership_query` makes the SQL of a segment at an instant. `pause_s` lies between two looks at what differs."""

    settings: Settings
    store: ProfileStore
    warehouse: Callable[[], Awaitable[Warehouse]]
    bus: Bus
    clock: Clock
    plan: Callable[[], SegmentPlan]
    rules: Callable[[], CompiledIdentityRules]
    membership_query: Callable[[SegmentPlan, str, int], SqlQuery]
    pause_s: float = PAUSE_S
    max_comparisons: int = MAX_COMPARISONS
    repair_timeout_s: float = AGENT_TIMEOUT_S

    async def verify(self, names: Sequence[str] = (), *, repair: bool = False) -> SegmentVerification:
        """Compare the segments `names` (none: all). With `repair`, what keeps differing is evaluated anew and compared again.

        Raises Invalid for a segment that does not exist, Transient when a store or the broker is away.
        """
        plan = self.plan()
        unknown = sorted(set(names) - plan.segments.keys())
        if unknown:
            raise Invalid(f"no segment is called {', '.join(unknown)}", path="segment", reason="unknown_segment")
        comparison = _Comparison(self, plan, sorted(set(names) or plan.segments.keys()))
        await comparison.compare_all()
        await comparison.recheck()
        if not repair:
            return await comparison.result()
        drifted = sorted({profile for differing in comparison.differing.values() for profile in differing.profiles})
        if drifted:
            await self._touch(drifted)
            await comparison.recheck()
        return await comparison.result(repaired=len(drifted))

    async def _touch(self, profile_ids: Sequence[str]) -> None:
        """Have the segment agent evaluate profiles again. Raises AgentBehind when it does not pass their touches in time."""

        def make_touch(profile_id: str) -> Touched:
            return Touched(profile_id=profile_id, node=profile_id, cause="reconcile", at_ms=self.clock.now_ms())

        toucher = ProfileToucher(self.settings, self.bus, self.store, timeout_s=self.repair_timeout_s)
        await toucher.touch(profile_ids, make_touch)


@dataclass(slots=True)
class _Comparison:
    """One comparison under way."""

    verifier: SegmentVerifier
    plan: SegmentPlan
    names: Sequence[str]
    both: dict[str, int] = field(default_factory=dict)
    differing: dict[str, DifferingProfiles] = field(default_factory=dict)
    comparisons: int = 0
    at_ms: int = 0

    async def compare_all(self) -> None:
        """All profiles. Of each segment one set is held, of ids in 16 bytes: what both have leaves it again."""
        self.comparisons, self.at_ms = 1, self.verifier.clock.now_ms()
        stream: dict[str, set[bytes]] = {name: set() for name in self.names}
        async for profile_id, data in self.verifier.store.scan("membership"):
            for name in _member_segments(data) & stream.keys():
                stream[name].add(bytes.fromhex(profile_id))
        warehouse = await self.verifier.warehouse()
        for name in self.names:
            only_stream, only_sql, both = stream.pop(name), set(), 0
            query = self.verifier.membership_query(self.plan, name, self.at_ms)
            async for block in warehouse.stream_query(query.sql, query.parameters):
                for (profile_id,) in block:
                    profile_bytes = bytes.fromhex(profile_id)
                    if profile_bytes in only_stream:
                        only_stream.remove(profile_bytes)
                        both += 1
                    else:
                        only_sql.add(profile_id)
            self.both[name] = both
            self.differing[name] = DifferingProfiles(frozenset(found.hex() for found in only_stream), frozenset(only_sql))

    async def recheck(self) -> None:
        """Those that differ, until none does or it was looked at often enough."""
        for _ in range(self.verifier.max_comparisons - 1):
            if not any(differing.profiles for differing in self.differing.values()):
                return
            await asyncio.sleep(self.verifier.pause_s)
            self.comparisons, self.at_ms = self.comparisons + 1, self.verifier.clock.now_ms()
            for name, differing in self.differing.items():
                if differing.profiles:
                    await self._compare_again(name, differing.profiles)

    async def result(self, repaired: int | None = None) -> SegmentVerification:
        """What came out, with the causes of what differs."""
        compared = [
            SegmentComparison(name, self.plan.versions[name], self.both[name], self.differing[name], await self._causes(name))
            for name in self.names
        ]
        return SegmentVerification(tuple(compared), self.comparisons, self.at_ms, repaired)

    async def _compare_again(self, name: str, profile_ids: frozenset[str]) -> None:
        stream: set[str] = set()
        for part in chunked(sorted(profile_ids), CHUNK):
            for profile_id, document in (await self.verifier.store.documents("membership", part)).items():
                if name in _member_segments(document.data):
                    stream.add(profile_id)
        sql = await self._sql(name, profile_ids)
        self.both[name] += len(stream & sql)
        self.differing[name] = DifferingProfiles(frozenset(stream - sql), frozenset(sql - stream))

    async def _sql(self, name: str, profile_ids: frozenset[str]) -> set[str]:
        """Who of these profiles is a member by history at `at_ms`."""
        query, warehouse = self.verifier.membership_query(self.plan, name, self.at_ms), await self.verifier.warehouse()
        if len(profile_ids) > CHUNK:
            blocks = warehouse.stream_query(query.sql, query.parameters)
            return {row[0] async for block in blocks for row in block if row[0] in profile_ids}
        narrowed = f"SELECT profile_id FROM ({query.sql}) WHERE profile_id IN {{looked_at:Array(String)}}"  # noqa: S608 - our own SQL
        rows = await warehouse.query(narrowed, {**query.parameters, "looked_at": sorted(profile_ids)})
        return {row[0] for row in rows}

    async def _causes(self, name: str) -> DriftCauses:
        counts, leaves = dict.fromkeys(("approximate", "stale", "registers"), 0), Counter[str]()
        differing, explainer = self.differing[name], SegmentExplainer(self.plan)
        household = self.verifier.rules().household
        for profile_id in sorted(differing.profiles)[:MAX_EXPLAINED]:
            snapshot = await person.read_snapshot(self.verifier.settings, self.verifier.store, self.plan, household, profile_id)
            if snapshot is None or snapshot.profile_id != profile_id:
                counts["stale"] += 1
                continue
            tree = explainer.tree_at(name, snapshot.facts, self.at_ms)
            approximate_leaves = {node.text for node in tree.walk() if node.is_approximate}
            if tree.holds is (profile_id in differing.sql):
                counts["stale"] += 1
            elif approximate_leaves:
                counts["approximate"] += 1
                leaves.update(approximate_leaves)
            else:
                counts["registers"] += 1
        return DriftCauses(**counts, leaves=tuple(leaves.most_common()))


def _member_segments(data: bytes | None) -> set[str]:
    """The segments that a membership document has its profile in."""
    document = decode_membership(data)
    return set() if document.dissolved_into else document.active_segments()
