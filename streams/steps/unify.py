"""Unify: fold a slice of events into the fragments of their owners, and say the new links and the touched profiles."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from domain.identity import evidence
from domain.profiles import fragment as model
from domain.identity.households import group_id
from profile_store.port import Document, Label, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.hashes import message_hash
from schemas.identifiers import star
from schemas.records import Grouped, Touched
from domain.identity.rules import DEFAULT_RULES, Rules
from domain.segments.plan import Plan
from streams.outcome import Outcome
from streams.steps.common import ALL, contribution, decode_slice, must_wait, touch

EVERYTHING: Final = "*"
"""What a replayed event may have changed: it is not known any more what it did."""


class UnifyStep:
    """Reads `events`."""

    name = "unify"
    topic = "events"

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
        """Load the owners' fragments and labels in one round trip, decide."""
        events, bad = decode_slice(Event, records, self.name, self._settings, now_ms)
        owners = list(dict.fromkeys(event.owner for _, event in events))
        standing, documents, labels = await self._store.load(place, "fragment", owners, owners)
        if must_wait(standing, self._known()):
            return Outcome(held=True)
        writes, produce, results = decide(self._settings, self._plan(), place, events, documents, labels, self._rules().version)
        results["quarantined"] += len(bad)
        return Outcome(standing.position, fence=standing.fence, writes=writes, produce=(*produce, *bad), results=results)


def decide(
    settings: Settings,
    plan: Plan,
    place: Place,
    events: Sequence[tuple[Record, Event]],
    documents: Mapping[str, Document],
    labels: Mapping[str, Label],
    rules: str = "",
) -> tuple[Writes, list[Outgoing], Counter[str]]:
    """Pure. `rules` is the version of the identity rules, for the evidence.

    An event at or before a fragment's applied offset changes nothing, but its links and touches are said again.

    The crash may have come between the state and the record.
    """
    fragments: dict[str, model.Fragment] = {}
    applied: dict[str, int] = {}
    links: evidence.Edges = {}
    touched: dict[str, Event] = {}
    changed: dict[str, set[str]] = {}
    accounts: dict[str, dict[str, model.Trait]] = {}
    results: Counter[str] = Counter()
    for record, event in events:
        owner = event.owner
        if record.offset <= documents[owner].applied(place):
            results["replayed"] += 1
            pairs: Sequence[tuple[str, str]] = star(event.nodes)
            touched[owner] = event
            changed.setdefault(owner, set()).add(EVERYTHING)
            _note_account(accounts, event)
        else:
            fragment = fragments.get(owner)
            if fragment is None:
                fragment = fragments[owner] = model.decode(documents[owner].data)
            effect = model.apply(fragment, event, plan)
            applied[owner] = record.offset
            results["stored" if effect.fresh else "duplicate"] += 1
            pairs = effect.links
            if effect.fresh:
                touched[owner] = event
                changed.setdefault(owner, set()).update(effect.changed)
                _note_account(accounts, event)
        for a, b in pairs:
            evidence.add(links, (a, b), evidence.of_event(event, rules))
    writes = Writes(
        documents={
            ("fragment", owner): Document(model.encode(fragment), place.name, applied[owner])
            for owner, fragment in fragments.items()
        }
    )
    produce = [Outgoing(settings.topic("links"), encode(evidence.link_of(a, b, edge))) for (a, b), edge in links.items()]
    produce += _touches(settings, touched, changed, labels)
    produce += [contribution(settings, record) for record in _of_accounts(settings, accounts)]
    return writes, produce, results


def _touches(
    settings: Settings, touched: Mapping[str, Event], changed: Mapping[str, set[str]], labels: Mapping[str, Label]
) -> Iterator[Outgoing]:
    for owner, event in touched.items():
        what = () if EVERYTHING in changed[owner] else tuple(sorted(changed[owner]))
        said = Touched(
            profile_id=labels[owner].profile_id,
            node=owner,
            cause="event",
            event_id=event.id,
            at_ms=event.received_ms,
            changed=what,
        )
        yield touch(settings, said)


def _note_account(accounts: dict[str, dict[str, model.Trait]], event: Event) -> None:
    """Join what a group call says of its account, by groupId."""
    if event.traits and (name := model.account_of(event)) is not None:
        model.set_traits(accounts.setdefault(name, {}), event, message_hash(event.owner, event.id))


def _of_accounts(settings: Settings, accounts: Mapping[str, Mapping[str, model.Trait]]) -> Iterator[Grouped]:
    secret = settings.tenant_secret.get_secret_value().encode()
    for name, traits in accounts.items():
        registers = {key: (trait.value, trait.time_ms, trait.id) for key, trait in traits.items()}
        yield Grouped(group_id=group_id(secret, "account", name), kind="account", name=name, traits=registers)
