"""Link: join new evidence and decisions, compute the clusters they make, write labels, and emit every change and its touches."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from domain.identity.model import Members
from domain.identity.relabelling import decide, identity_record, join_records
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from profile_store.identity_loader import ClusterLoader
from profile_store.link_state import LinkState, link_state_of
from profile_store.port import GuardedDocument, ProfileStore, TopicPartition, Writes
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import LinkRecord, ReclusterRequest, Touched
from streams.outcome import Outcome
from streams.steps.common import decode_slice, touch_record


class LinkStep:
    """Reads `links`, which has one partition, so that labels have one writer; emits `identities` and `touched`."""

    name = "link"
    topic = "links"

    def __init__(
        self, settings: Settings, store: ProfileStore, rules: Callable[[], CompiledIdentityRules] = lambda: DEFAULT_RULES
    ) -> None:
        self._settings = settings
        self._store = store
        self._rules = rules

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Load the clusters of the slice's nodes, join the new evidence, and relabel the clusters that changed."""
        decoded, quarantine_records = decode_slice(LinkRecord, records, self.name, self._settings, now_ms)
        rules = self._rules()
        checkpoint, documents, _ = await self._store.load(topic_partition, "link_outbox", [topic_partition.guard_name])
        if checkpoint.paused:
            return Outcome(paused=True)
        new_evidence = join_records([record for _, record in decoded])
        closure = await ClusterLoader(self._store, rules).load(new_evidence.nodes, new_evidence.edges, new_evidence.decisions)
        change = decide(closure, new_evidence, version=records[-1].offset + 1, now_ms=now_ms)
        # A replay: a crash may have come between the save and the send, so what that slice changed is emitted again.
        state = link_state_of(documents, topic_partition)
        unpublished_ids = state.unpublished_ids if records[0].offset < (checkpoint.position or 0) else ()
        republished = await self._store.members([name for name in unpublished_ids if name not in change.members])
        changed = {**republished, **change.members}
        apply_requests(state, new_evidence.requests, rules.sequence_number)
        state.unpublished_ids = tuple(sorted(changed))
        offset = max(
            records[-1].offset, documents[topic_partition.guard_name].offset + 1
        )  # the state of a replay must be taken, too
        writes = Writes(
            documents={
                ("link_outbox", topic_partition.guard_name): GuardedDocument(
                    msgspec.json.encode(state), topic_partition.guard_name, offset
                )
            },
            labels=change.labels,
            members=change.members,
            edges=change.edges,
            decisions=change.decisions,
        )
        results = Counter(links=len(decoded), nodes=len(closure.nodes), quarantined=len(quarantine_records))
        return Outcome(
            checkpoint.position,
            fence=checkpoint.fence,
            writes=writes,
            produce=(*self._change_records(changed, now_ms), *quarantine_records),
            results=results,
        )

    def _change_records(self, changed: Mapping[str, Members], now_ms: int) -> list[Outgoing]:
        """Return the record of each changed profile's members, for the warehouse, and a touch of each."""
        topic = self._settings.topic("identities")
        records = [Outgoing(topic, encode(identity_record(name, entry)), key=name.encode()) for name, entry in changed.items()]
        return records + [
            touch_record(self._settings, Touched(profile_id=name, node=name, cause="link", event_id=entry.cause, at_ms=now_ms))
            for name, entry in changed.items()
        ]


def apply_requests(state: LinkState, requests: Sequence[ReclusterRequest], rules_number: int) -> None:
    """Note in `state` that these requests were decided by the rules of `rules_number`. A request without nodes ends a round."""
    for request in requests:
        state.missed |= request.rules_number != rules_number
        state.round_resolved, state.round_nodes = request.resolved, request.total
        if not request.nodes:
            state.rules = state.rules if state.missed else rules_number
            state.missed = False
