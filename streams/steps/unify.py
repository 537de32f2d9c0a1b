"""Unify: fold a slice of events into the fragments of their owners, and say the new links and the touched profiles."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from profile_store import model
from profile_store.port import Document, Label, Place, ProfileStore, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.identifiers import star
from schemas.records import Link, Touched
from segments.plan import Plan
from streams.outcome import Outcome
from streams.steps.common import decode_slice, touch


class UnifyStep:
    """Reads `events`."""

    name = "unify"
    topic = "events"

    def __init__(self, settings: Settings, store: ProfileStore, plan: Callable[[], Plan]) -> None:
        self._settings, self._store, self._plan = settings, store, plan

    async def run(self, place: Place, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the owners' fragments and labels in one round trip, decide."""
        events, bad = decode_slice(Event, records, self.name, self._settings, now_ms)
        owners = list(dict.fromkeys(event.owner for _, event in events))
        standing, documents, labels = await self._store.load(place, "fragment", owners, owners)
        if standing.held:
            return Outcome(held=True)
        writes, produce, results = decide(self._settings, self._plan(), place, events, documents, labels)
        results["quarantined"] += len(bad)
        return Outcome(standing.position, writes=writes, produce=(*produce, *bad), results=results)


def decide(
    settings: Settings,
    plan: Plan,
    place: Place,
    events: Sequence[tuple[Record, Event]],
    documents: Mapping[str, Document],
    labels: Mapping[str, Label],
) -> tuple[Writes, list[Outgoing], Counter[str]]:
    """Pure. An event at or before a fragment's applied offset changes nothing, but its links and touches are said again.

    The crash may have come between the state and the record.
    """
    fragments: dict[str, model.Fragment] = {}
    applied: dict[str, int] = {}
    links: dict[tuple[str, str], Link] = {}
    touched: dict[str, Event] = {}
    results: Counter[str] = Counter()
    for record, event in events:
        owner = event.owner
        if record.offset <= documents[owner].applied(place):
            results["replayed"] += 1
            pairs: Sequence[tuple[str, str]] = star(event.nodes)
            touched[owner] = event
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
        for a, b in pairs:
            links[a, b] = _link(links.get((a, b)), a, b, event)
    writes = Writes(
        documents={
            ("fragment", owner): Document(model.encode(fragment), place.name, applied[owner])
            for owner, fragment in fragments.items()
        }
    )
    produce = [Outgoing(settings.topic("links"), encode(link)) for link in links.values()]
    produce += [
        touch(
            settings,
            Touched(
                profile_id=labels[owner].profile_id,
                node=owner,
                cause="event",
                event_id=event.id,
                at_ms=event.received_ms,
            ),
        )
        for owner, event in touched.items()
    ]
    return writes, produce, results


def _link(known: Link | None, a: str, b: str, event: Event) -> Link:
    """The evidence of an event, joined with what the slice has already seen of the pair."""
    day = event.time_ms // model.DAY_MS
    if known is None:
        return Link(a=a, b=b, first_ms=event.time_ms, last_day=day, event_id=event.id, source=event.source)
    earlier = (event.time_ms, event.id) < (known.first_ms, known.event_id)
    return Link(
        a=a,
        b=b,
        first_ms=min(known.first_ms, event.time_ms),
        last_day=max(known.last_day, day),
        event_id=event.id if earlier else known.event_id,
        source=event.source if earlier else known.source,
    )
