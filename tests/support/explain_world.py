"""Segment questions over the pipeline's twin: ClickHouse's named reads are answered from the pipeline's logs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from domain.definitions.kinds import Segment
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from ops.segments.service import SegmentService
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import BOT_FLAG, Event
from tests.support.events import SECRET
from tests.support.simulated_pipeline import Pipeline
from warehouse import named_queries
from warehouse.client import Warehouse


@dataclass
class Told:
    """The reads of a warehouse that has consumed all of the pipeline's logs; while it is `away`, every read fails."""

    pipeline: Pipeline
    away: bool = False

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if self.away:
            raise Transient("ClickHouse does not answer")
        given = dict(parameters or {})
        if sql == named_queries.query_text("event_of_owners"):
            found = [e for e in self.events() if e.owner in given["owners"] and e.id == given["id"]][:1]
            return [(e.type, e.name, e.source, e.time_ms, e.received_ms) for e in found]
        if sql == named_queries.query_text("last_transition"):
            said = [t for t in self.pipeline.transitions() if (t.profile_id, t.segment) == (given["profile_id"], given["segment"])]
            said.sort(key=lambda t: -t.seq)
            return [(t.op, t.at_ms, t.evaluated_ms, t.cause, t.event_id, t.seq, t.segment_version) for t in said[:1]]
        assert sql == named_queries.query_text("evidence_events")
        return [_event_row(e) for e in sorted(self.events(), key=lambda e: (-e.time_ms, e.id)) if _matches_query(e, given)][
            : given["limit"]
        ]

    def events(self) -> list[Event]:
        logs = [log for (topic, _), log in sorted(self.pipeline.logs.items()) if topic == "events"]
        once = {(e.owner, e.id): e for log in reversed(logs) for e in (decode(Event, record.value) for record in reversed(log))}
        return list(once.values())


def _matches_query(event: Event, bound: Mapping[str, Any]) -> bool:
    return (
        event.owner in bound["owners"]
        and event.label == bound["label"]
        and bound["from_ms"] <= event.time_ms <= bound["until_ms"]
        and (not bound["times"] or event.time_ms in bound["times"])
        and (bound["bots"] or BOT_FLAG not in event.flags)
    )


def _event_row(event: Event) -> tuple[Any, ...]:
    documents = (msgspec.json.encode(part).decode() for part in (event.properties, event.traits, event.context))
    return (
        event.owner,
        event.id,
        event.type,
        event.name,
        event.source,
        event.time_ms,
        event.received_ms,
        list(event.nodes),
        list(event.identifiers),
        *documents,
        event.flags,
        event.trusted,
    )


@dataclass
class ExplainWorld:
    """A pipeline with segments, and the service that explains them."""

    segments: Sequence[Segment]
    rules: CompiledIdentityRules = DEFAULT_RULES
    pipeline: Pipeline = field(init=False)
    told: Told = field(init=False)
    asked: SegmentService = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(random.Random(1), self.segments, rules=self.rules)
        self.told = Told(self.pipeline)
        plan = segment_plan_of(self.segments)
        settings = Settings(tenant_secret=SECRET.decode())

        async def warehouse() -> Warehouse:
            return cast("Warehouse", self.told)

        self.asked = SegmentService(settings, self.pipeline.store, self.pipeline.clock, lambda: plan, lambda: self.rules, warehouse)

    async def process_events(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.pipeline.drain()
