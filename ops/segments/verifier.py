"""The law Streaming equals SQL, checked in production: members of segments and values of computed traits, in the stream and by SQL.

**Why.** The agents keep memberships and computed traits incrementally, and the same definitions compiled to SQL say over all of
history who is a member, and what the values are. Every fault of the agents, of a register or of a lost record ends as a
difference of these two, so one comparison finds all of them.

**Invariant.** A difference counts only if it stays. Events, labels and timers reach the two stores at different moments, so
profiles that differ are compared again, at a later instant each time, and what agrees once is not named any more.

**Example.** At 02:00:00 the stream has 10,000 members of `buyers`, and SQL has 10,003. Of these, 9,998 are in both: 2 are in
the stream alone and 5 by SQL alone. Three seconds later the 7 are compared again: 6 agree by now, since their events were on
the way. The last one still differs after five comparisons, so it is drift. With `repair` it is touched, the segment agent
evaluates it, and it is compared again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.identity.rules import CompiledIdentityRules
from domain.profiles.membership import decode_membership
from domain.segments.explain import SegmentExplainer
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import COMPUTED_PREFIX
from domain.segments.sql.compile import computed_values_query
from domain.segments.sql.query import SqlQuery
from ops.segments import profile_snapshot as person
from ops.segments.profile_snapshot import ProfileSnapshot
from ops.segments.trait_values import TraitValues, value_digest
from ops.segments.verification import (
    DifferingProfiles,
    DriftCauses,
    SegmentComparison,
    SegmentVerification,
    TraitComparison,
)
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
"""How often profiles that differ are compared before they count as drift."""
PAUSE_S: Final = 3.0
"""Seconds between two comparisons: longer than an event, a label or a timer takes to reach both stores."""
CHUNK: Final = 1_000
"""Profiles that one query to a store names."""
MAX_EXPLAINED: Final = 200
"""How many differing profiles of a segment are examined for the cause."""


@dataclass(frozen=True, slots=True)
class SegmentVerifier:
    """Compares segments, and repairs them on request.

    `plan` and `rules` return those that are live. `membership_query` compiles a segment at an instant to SQL, `values_query` a
    computed trait. `pause_s` is the time between two comparisons.
    """

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
    values_query: Callable[[SegmentPlan, str, int], SqlQuery] = computed_values_query

    async def verify(self, names: Sequence[str] = (), *, repair: bool = False) -> SegmentVerification:
        """Compare the segments and computed traits `names`, or all. With `repair`, profiles that still differ are evaluated again.

        A computed trait is named `computed.NAME`. Raises Invalid for a name that does not exist, AgentBehind when the segment
        agent does not reach the touches in time, Transient when a store or the broker does not answer.
        """
        plan = self.plan()
        all_traits = {f"{COMPUTED_PREFIX}{name}" for name in plan.computed}
        unknown = sorted(set(names) - plan.segments.keys() - all_traits)
        if unknown:
            raise Invalid(f"no segment is called {', '.join(unknown)}", path="segment", reason="unknown_segment")
        requested = set(names) or {*plan.segments, *all_traits}
        traits = sorted(name.removeprefix(COMPUTED_PREFIX) for name in requested & all_traits)
        comparison = _Comparison(self, plan, sorted(requested & plan.segments.keys()), traits)
        await comparison.compare_all()
        # Before a repair too: most differences are events on their way, and touching their profiles would only load the agent.
        await comparison.recheck()
        if not repair:
            return await comparison.result()
        drifted = sorted(comparison.differing_profiles())
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
    """A comparison in progress: the counts and the differences of each segment and trait, as of the last comparison at `at_ms`."""

    verifier: SegmentVerifier
    plan: SegmentPlan
    names: Sequence[str]
    traits: Sequence[str]
    both: dict[str, int] = field(default_factory=dict)
    differing: dict[str, DifferingProfiles] = field(default_factory=dict)
    equal_values: dict[str, int] = field(default_factory=dict)
    differing_values: dict[str, frozenset[str]] = field(default_factory=dict)
    comparisons: int = 0
    at_ms: int = 0

    async def compare_all(self) -> None:
        """Compare all profiles. In memory are the stream's members of all segments, 16 bytes each; SQL's are streamed past them."""
        self.comparisons = 1
        self.at_ms = self.verifier.clock.now_ms()
        # Documents are read after this instant, so a timer that fires in between looks like a difference until the recheck.
        stream: dict[str, set[bytes]] = {name: set() for name in self.names}
        async for profile_id, data in self.verifier.store.scan("membership"):
            for name in _member_segments(data) & stream.keys():
                stream[name].add(bytes.fromhex(profile_id))
        warehouse = await self.verifier.warehouse()
        for name in self.names:
            # Popped, so that the memory of a segment is free again before the next one is streamed.
            only_stream = stream.pop(name)
            only_sql: set[str] = set()
            both = 0
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
            self.differing[name] = DifferingProfiles(
                frozenset(profile_bytes.hex() for profile_bytes in only_stream), frozenset(only_sql)
            )

        for trait in self.traits:
            self.equal_values[trait], self.differing_values[trait] = await self._trait_values.compare_all(trait, self.at_ms)

    @property
    def _trait_values(self) -> TraitValues:
        verifier = self.verifier
        return TraitValues(verifier.store, verifier.warehouse, self.plan, verifier.values_query, CHUNK)

    def differing_profiles(self) -> set[str]:
        """Return the profiles that differ in any segment or computed trait."""
        members = {profile_id for differing in self.differing.values() for profile_id in differing.profiles}
        return members.union(*self.differing_values.values())

    async def recheck(self) -> None:
        """Compare the differing profiles again, until none differs or `max_comparisons` is reached."""
        for _ in range(self.verifier.max_comparisons - 1):
            if not self.differing_profiles():
                return
            await asyncio.sleep(self.verifier.pause_s)
            self.comparisons += 1
            # A new instant: membership by SQL at the old one would miss what the stream has done since then.
            self.at_ms = self.verifier.clock.now_ms()
            for name, differing in self.differing.items():
                if differing.profiles:
                    await self._compare_again(name, differing.profiles)
            for trait, profile_ids in self.differing_values.items():
                if profile_ids:
                    equal, self.differing_values[trait] = await self._trait_values.compare_again(trait, profile_ids, self.at_ms)
                    self.equal_values[trait] += equal

    async def result(self, repaired: int | None = None) -> SegmentVerification:
        """Return the result, with the causes of the differences."""
        compared = [
            SegmentComparison(
                segment=name,
                version=self.plan.versions[name],
                both=self.both[name],
                differing=self.differing[name],
                causes=await self._causes(name),
            )
            for name in self.names
        ]
        traits = [
            TraitComparison(
                trait=trait,
                version=self.plan.computed[trait].version,
                equal=self.equal_values[trait],
                differing=self.differing_values[trait],
                causes=await self._trait_causes(trait),
            )
            for trait in self.traits
        ]
        return SegmentVerification(tuple(compared), self.comparisons, self.at_ms, repaired, tuple(traits))

    async def _compare_again(self, name: str, profile_ids: frozenset[str]) -> None:
        """Compare these profiles of one segment again. A profile that was merged meanwhile is on neither side, so it agrees."""
        stream: set[str] = set()
        for part in chunked(sorted(profile_ids), CHUNK):
            for profile_id, document in (await self.verifier.store.documents("membership", part)).items():
                if name in _member_segments(document.data):
                    stream.add(profile_id)
        sql = await self._sql(name, profile_ids)
        # Profiles that left both sides meanwhile were never counted as members of both, so nothing is subtracted.
        self.both[name] += len(stream & sql)
        self.differing[name] = DifferingProfiles(frozenset(stream - sql), frozenset(sql - stream))

    async def _sql(self, name: str, profile_ids: frozenset[str]) -> set[str]:
        """Return the members among these profiles by SQL at `at_ms`."""
        query = self.verifier.membership_query(self.plan, name, self.at_ms)
        warehouse = await self.verifier.warehouse()
        # So many ids would make the statement too long: all members are streamed and filtered here.
        if len(profile_ids) > CHUNK:
            blocks = warehouse.stream_query(query.sql, query.parameters)
            return {row[0] async for block in blocks for row in block if row[0] in profile_ids}
        narrowed = f"SELECT profile_id FROM ({query.sql}) WHERE profile_id IN {{compared_profiles:Array(String)}}"  # noqa: S608 - our own SQL
        rows = await warehouse.query(narrowed, {**query.parameters, "compared_profiles": sorted(profile_ids)})
        return {row[0] for row in rows}

    async def _causes(self, name: str) -> DriftCauses:
        counts = dict.fromkeys(("approximate", "stale", "registers"), 0)
        leaves = Counter[str]()
        differing = self.differing[name]
        explainer = SegmentExplainer(self.plan)
        for profile_id in sorted(differing.profiles)[:MAX_EXPLAINED]:
            snapshot = await self._snapshot(profile_id)
            if snapshot is None:
                # The profile has gone into another one: its membership document waits for the evaluation that dissolves it.
                counts["stale"] += 1
                continue
            tree = explainer.tree_at(name, snapshot.facts, self.at_ms)
            approximate_leaves = {node.text for node in tree.walk() if node.is_approximate}
            # The registers already give SQL's answer, so only the stored membership is old, and a repair corrects it.
            if tree.holds is (profile_id in differing.sql):
                counts["stale"] += 1
            # A register that has dropped entries explains the difference. Only if none has, the registers must be wrong.
            elif approximate_leaves:
                counts["approximate"] += 1
                leaves.update(approximate_leaves)
            else:
                counts["registers"] += 1
        return DriftCauses(**counts, leaves=tuple(leaves.most_common()))

    async def _trait_causes(self, trait: str) -> DriftCauses:
        counts = Counter[str]()
        examined = sorted(self.differing_values[trait])[:MAX_EXPLAINED]
        sql = await self._trait_values.sql_digests(trait, examined, self.at_ms) if examined else {}
        for profile_id in examined:
            snapshot = await self._snapshot(profile_id)
            if snapshot is None:
                counts["stale"] += 1
                continue
            answer = self.plan.evaluate_computed(snapshot.facts, self.at_ms, [trait])[trait]
            digest = None if answer.value is None else value_digest(answer.value)
            if digest == sql.get(profile_id):
                counts["stale"] += 1
            else:
                counts["approximate" if answer.is_approximate else "registers"] += 1
        return DriftCauses(counts["approximate"], counts["stale"], counts["registers"])

    async def _snapshot(self, profile_id: str) -> ProfileSnapshot | None:
        """Return the profile as it is now; None when it has gone into another one."""
        snapshot = await person.read_snapshot(
            settings=self.verifier.settings,
            store=self.verifier.store,
            plan=self.plan,
            rule=self.verifier.rules().household,
            node=profile_id,
        )
        return snapshot if snapshot is not None and snapshot.profile_id == profile_id else None


def _member_segments(data: bytes | None) -> set[str]:
    """Return the segments that a membership document has its profile in; none for a profile that was merged into another."""
    document = decode_membership(data)
    return set() if document.dissolved_into else document.active_segments()
