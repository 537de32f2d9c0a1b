"""Questions about segments over the pipeline's twin: ClickHouse's named reads are answered from its logs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from ops.segments.service import Asked
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import BOT, Event
from domain.definitions.kinds import Segment
from domain.identity.rules import DEFAULT_RULES, Rules
from domain.segments.plan import Plan
from tests.support.events import SECRET
from tests.support.simulated_pipeline import Pipeline


@dataclass
class Told:
    """The reads of a warehouse that has consumed all of the pipeline's logs; `away`, it answers nothing."""

    pipeline: Pipeline
    away: bool = False

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if self.away:
            raise Transient("ClickHouse does not answer")
        given = dict(parameters or {})
        if sql == reads.statement("event_of_owners"):
            found = [e for e in self.events() if e.owner in given["owners"] and e.id == given["id"]][:1]
            return [(e.type, e.name, e.source, e.time_ms, e.received_ms) for e in found]
        if sql == reads.statement("last_transition"):
            said = [t for t in self.pipeline.transitions() if (t.profile_id, t.segment) == (given["profile_id"], given["segment"])]
            said.sort(key=lambda t: -t.seq)
            return [(t.op, t.at_ms, t.evaluated_ms, t.cause, t.event_id, t.seq, t.segment_version) for t in said[:1]]
        assert sql == reads.statement("events_behind")
        return [_row(e) for e in sorted(self.events(), key=lambda e: (-e.time_ms, e.id)) if _wanted(e, given)][: given["limit"]]

    def events(self) -> list[Event]:
        logs = [log for (topic, _), log in sorted(self.pipeline.logs.items()) if topic == "events"]
        once = {(e.owner, e.id): e for log in reversed(logs) for e in (decode(Event, record.value) for record in reversed(log))}
        return list(once.values())


def _wanted(event: Event, given: Mapping[str, Any]) -> bool:
    return (
        event.owner in given["owners"]
        and event.label == given["label"]
        and given["from_ms"] <= event.time_ms <= given["until_ms"]
        and (not given["times"] or event.time_ms in given["times"])
        and (given["bots"] or BOT not in event.flags)
    )


def _row(e: Event) -> tuple[Any, ...]:
    documents = (msgspec.json.encode(part).decode() for part in (e.properties, e.traits, e.context))
    return (
        e.owner,
        e.id,
        e.type,
        e.name,
        e.source,
        e.time_ms,
        e.received_ms,
        list(e.nodes),
        list(e.identifiers),
        *documents,
        e.flags,
    )


@dataclass
class Asking:
    """A pipeline with segments, and what is asked about it."""

    segments: Sequence[Segment]
    rules: Rules = DEFAULT_RULES
    pipeline: Pipeline = field(init=False)
    told: Told = field(init=False)
    asked: Asked = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(random.Random(1), self.segments, rules=self.rules)
        self.told = Told(self.pipeline)
        plan = Plan(self.segments)
        settings = Settings(tenant_secret=SECRET.decode(), api_token="a-token-of-some-length")

        async def warehouse() -> Warehouse:
            return cast("Warehouse", self.told)

        self.asked = Asked(settings, self.pipeline.store, self.pipeline.clock, lambda: plan, lambda: self.rules, warehouse)

    async def happen(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.pipeline.drain()
