"""Unify: fold a slice of events into the fragments of their owners, and emit new links and touches of the profiles they changed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from domain.identity.evidence import add_edge, edge_of_event, event_pairs, link_of
from domain.identity.households import group_id
from domain.identity.model import Edges, Label
from domain.profiles.event_changes import touch_event
from domain.profiles.fragment import (
    Effect,
    Fragment,
    account_of_group_call,
    apply_event,
    decode_fragment,
    encode_fragment,
    set_traits,
)
from domain.segments.plan import SegmentPlan
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from runtime.chunks import chunked
from runtime.settings import Settings
from schemas.codec import encode
from schemas.event_limits import MAX_EVENT_TRAITS
from schemas.events import NOBODY, Event
from schemas.hashes import message_hash
from schemas.records import GroupRecord, Touched, TouchEvent, TraitValue
from streams.outcome import Outcome
from streams.steps.common import DefinedStep, contribution_record, decode_slice, must_wait, touch_record

EVERYTHING: Final = "*"
"""The change key for everything that a segment can read. A replayed event uses it: what it changed is no longer known."""

MAX_CHANGES: Final = 1_000
"""How many changes one touch names; when there are more, it says that everything may have changed."""
MAX_TOUCH_EVENTS: Final = 50
"""How many events one touch names; an owner with more of them in a slice gets several touches, so that none becomes too large."""


class OwnerChanges:
    """What the events of one owner in a slice changed, the events that can turn a segment, and the last event."""

    last: Event

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.events: list[TouchEvent] = []

    def add(self, event: Event, changed: Iterable[str], touch: TouchEvent | None) -> None:
        """Add an event, in the order of application; `touch` is None for one that can turn no segment."""
        self.last = event
        self.changed.update(changed)
        if touch is not None:
            self.events.append(touch)


class UnifyStep(DefinedStep):
    """Reads `events`; writes fragments, and emits `links`, `touched` and the account traits of `groups`."""

    name = "unify"
    topic = "events"

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the fragments and labels of the events' owners, in one round trip, and decide."""
        events, quarantine_records = decode_slice(Event, records, self.name, self._settings, now_ms)
        owners = list(dict.fromkeys(event.owner for _, event in events if event.owner != NOBODY))
        checkpoint, documents, labels = await self._store.load(topic_partition, "fragment", owners, owners)
        if must_wait(checkpoint, self._definitions_offset()):
            return Outcome(paused=True)
        writes, produce, results, dropped = decide(
            self._settings,
            self._plan(),
            topic_partition=topic_partition,
            events=events,
            documents=documents,
            labels=labels,
            rules_version=self._rules().version,
        )
        results["quarantined"] += len(quarantine_records)
        return Outcome(
            checkpoint.position,
            fence=checkpoint.fence,
            writes=writes,
            produce=(*produce, *quarantine_records),
            results=results,
            dropped_names=dropped,
        )


def decide(
    settings: Settings,
    plan: SegmentPlan,
    *,
    topic_partition: TopicPartition,
    events: Sequence[tuple[Record, Event]],
    documents: Mapping[str, GuardedDocument],
    labels: Mapping[str, Label],
    rules_version: str = "",
) -> tuple[Writes, list[Outgoing], Counter[str], Counter[str]]:
    """Decide what the events change. Pure. Returns the writes, the records to send, and results and dropped names for the metrics.

    An event at or before the applied offset of its owner's fragment was applied before. It changes nothing, but its links and its
    touch are emitted again, since a crash may have come between the save and the send. `rules_version` is the version of the
    identity rules, which the evidence records.
    """
    fragments: dict[str, Fragment] = {}
    applied: dict[str, int] = {}
    links: Edges = {}
    touched: dict[str, OwnerChanges] = {}
    accounts: dict[str, dict[str, TraitValue]] = {}
    results: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    secret = settings.tenant_key
    for record, event in events:
        owner = event.owner
        if owner == NOBODY:
            results["stored"] += 1  # by the consumer, in ClickHouse: there is no profile that it could change
            continue
        rules_by_pair = event_pairs(event, secret)
        if record.offset <= documents[owner].applied_offset(topic_partition):
            results["replayed"] += 1
            pairs: Iterable[tuple[str, str]] = rules_by_pair
            touch = TouchEvent(id=event.id, received_ms=event.received_ms)  # what it replaced is no longer known
            touched.setdefault(owner, OwnerChanges()).add(event, {EVERYTHING}, touch)
            _add_account_traits(accounts, event)
        else:
            fragment = fragments.get(owner)
            if fragment is None:
                fragment = fragments[owner] = decode_fragment(documents[owner].data)
            effect = apply_event(fragment, event, plan, rules_by_pair)
            applied[owner] = record.offset
            results["stored" if effect.is_new else "duplicate"] += 1
            dropped.update(effect.dropped)
            pairs = effect.changed_links
            if effect.is_new:
                touched.setdefault(owner, OwnerChanges()).add(event, effect.changes, _touch_event(fragment, event, effect, plan))
                _add_account_traits(accounts, event)
        for a, b in pairs:
            add_edge(links, (a, b), edge_of_event(event, rules_by_pair[a, b], rules_version))
    writes = Writes(
        documents={
            ("fragment", owner): GuardedDocument(encode_fragment(fragment), topic_partition.guard_name, applied[owner])
            for owner, fragment in fragments.items()
        }
    )
    produce = [Outgoing(settings.topic("links"), encode(link_of(a, b, edge))) for (a, b), edge in links.items()]
    produce += _touches(settings, touched, labels)
    produce += [contribution_record(settings, record) for record in _account_contributions(settings, accounts)]
    return writes, produce, results, dropped


def _touch_event(fragment: Fragment, event: Event, effect: Effect, plan: SegmentPlan) -> TouchEvent | None:
    return None if plan.turning_changes.isdisjoint(effect.changes) else touch_event(fragment, event, effect, plan)


def _touches(settings: Settings, touched: Mapping[str, OwnerChanges], labels: Mapping[str, Label]) -> Iterator[Outgoing]:
    for owner, owner_changes in touched.items():
        is_everything = EVERYTHING in owner_changes.changed or len(owner_changes.changed) > MAX_CHANGES
        changed = () if is_everything else tuple(sorted(owner_changes.changed))
        # A touch without events still says what changed: computed traits and the profile itself.
        for events in list(chunked(owner_changes.events, MAX_TOUCH_EVENTS)) or [[]]:
            record = Touched(
                profile_id=labels[owner].profile_id,
                node=owner,
                cause="event",
                event_id=owner_changes.last.id,
                at_ms=owner_changes.last.received_ms,
                changed=changed,
                events=tuple(events),
            )
            yield touch_record(settings, record)


def _add_account_traits(accounts: dict[str, dict[str, TraitValue]], event: Event) -> None:
    """Join the traits that a group call has of its account into `accounts`, by the call's groupId."""
    if event.traits and (name := account_of_group_call(event)) is not None:
        set_traits(accounts.setdefault(name, {}), event, message_hash(event.owner, event.id))


def _account_contributions(settings: Settings, accounts: Mapping[str, Mapping[str, TraitValue]]) -> Iterator[GroupRecord]:
    secret = settings.tenant_key
    for name, traits in accounts.items():
        # All of them, in parts that fit into a record: ClickHouse has every trait, also those that the account has no place for.
        for part in chunked(sorted(traits), MAX_EVENT_TRAITS):
            yield GroupRecord(
                group_id=group_id(secret, "account", name), kind="account", name=name, traits={key: traits[key] for key in part}
            )
