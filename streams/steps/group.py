"""Group: fold what is said of accounts and households into their documents, touch the members whose segments may depend on it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from domain.identity import groups
from domain.identity.households import kind_of
from profile_store.port import Document, Kind, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.records import Grouped, Touched
from domain.identity.rules import DEFAULT_RULES, HouseholdRules, Rules
from domain.segments.plan import Plan
from streams.outcome import Outcome
from streams.steps.common import ALL, decode_slice, must_wait, touch

Said = list[tuple[int, Grouped]]
"""The records of one group in a slice, each with its offset."""


class GroupStep:
    """Reads `groups`. A profile that is touched says nothing of its groups that it has not said, so all comes to rest."""

    name = "group"
    topic = "groups"

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        plan: Callable[[], Plan],
        rules: Callable[[], Rules] = lambda: DEFAULT_RULES,
        known: Callable[[], int] = lambda: ALL,
    ) -> None:
        """`known` is the offset of the definitions before which all are in `plan`."""
        self._settings, self._store, self._plan, self._rules, self._known = settings, store, plan, rules, known

    async def run(self, place: Place, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the groups' documents in one round trip, decide."""
        decoded, bad = decode_slice(Grouped, records, self.name, self._settings, now_ms)
        by_group: dict[str, Said] = {}
        for record, said in decoded:
            by_group.setdefault(said.group_id, []).append((record.offset, said))
        standing, documents, _ = await self._store.load(place, "group", list(by_group))
        if must_wait(standing, self._known()):
            return Outcome(held=True)
        outcome = decide(self._settings, self._plan(), self._rules().household, place, by_group, documents, now_ms)
        outcome.results["quarantined"] += len(bad)
        return replace(outcome, expected=standing.position, fence=standing.fence, produce=(*outcome.produce, *bad))


def decide(
    settings: Settings,
    plan: Plan,
    rule: HouseholdRules | None,
    place: Place,
    by_group: Mapping[str, Said],
    documents: Mapping[str, Document],
    now_ms: int,
) -> Outcome:
    """Pure. Records that a document has seen change nothing, but its members are touched: a crash may have forgotten them."""
    changed: dict[tuple[Kind, str], Document] = {}
    touched: dict[str, None] = {}
    results: Counter[str] = Counter()
    for name, said in by_group.items():
        stored = documents[name]
        applied = stored.applied(place)
        fresh = [record for offset, record in said if offset > applied]
        results["stored"] += len(fresh)
        results["replayed"] += len(said) - len(fresh)
        group = groups.decode(stored.data)
        before, present = groups.verdicts(name, group, plan, rule), set(group.members())
        groups.fold(group, fresh)
        data = groups.encode(group)
        if fresh and data != stored.data:
            changed["group", name] = Document(data, place.name, said[-1][0])
        if plan.account_leaves if kind_of(name) == "account" else plan.household_leaves:
            everyone = len(fresh) < len(said) or groups.verdicts(name, group, plan, rule) != before
            touched |= dict.fromkeys(group.members() if everyone else _newcomers(fresh, present))
    results["touched"] += len(touched)
    return Outcome(writes=Writes(documents=changed), produce=tuple(_touches(settings, touched, now_ms)), results=results)


def _newcomers(fresh: Iterable[Grouped], present: set[str]) -> list[str]:
    """Those whom changes of the group did not touch until now: what they have seen of it may be of any time."""
    return [said.profile_id for said in fresh if said.profile_id and said.present and said.profile_id not in present]


def _touches(settings: Settings, profile_ids: Iterable[str], now_ms: int) -> Iterable[Outgoing]:
    for name in profile_ids:
        yield touch(settings, Touched(profile_id=name, node=name, cause="group", at_ms=now_ms))
