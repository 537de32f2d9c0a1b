"""The identity service over the pipeline's twin.

Decisions go to the pipeline's log, and ClickHouse's named reads are answered from its logs.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from ops.identity.audit import IdentityHistory
from ops.identity.service import IdentityService
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.records import LinkDecision, LinkRecord
from tests.support.events import SECRET
from tests.support.simulated_pipeline import Pipeline
from warehouse import named_queries
from warehouse.client import Warehouse


@dataclass
class HistoryReads:
    """The reads of a warehouse that has consumed all of the pipeline's logs; while it is `away`, every read fails."""

    pipeline: Pipeline
    away: bool = False

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if self.away:
            raise Transient("ClickHouse does not answer")
        bound = dict(parameters or {})
        if sql == named_queries.query_text("event"):
            matches = [e for e in self.events() if (e.owner, e.id) == (bound["owner"], bound["id"])][:1]
            return [(e.type, e.name, e.source, e.time_ms, e.received_ms, list(e.nodes)) for e in matches]
        if sql == named_queries.query_text("operation"):
            decisions = [d for d in self.decided() if d.operation == bound["operation"]]
            return [(d.action, *key, d.on, d.at_ms, d.of, d.by, d.reason) for d in decisions for key in d.pairs]
        assert sql == named_queries.query_text("operations")
        newest = sorted(self.decided(), key=lambda d: (d.at_ms, d.operation), reverse=True)[: bound["limit"]]
        return [(d.operation, d.action, d.on, d.at_ms, d.of, d.by, d.reason, len(d.pairs)) for d in newest]

    async def aclose(self) -> None:
        return

    def events(self) -> list[Event]:
        logs = [log for (topic, _), log in sorted(self.pipeline.logs.items()) if topic == "events"]
        return [decode(Event, record.value) for log in logs for record in log]

    def decided(self) -> list[LinkDecision]:
        link_records = [decode(LinkRecord, record.value) for record in self.pipeline.logs["links", 0]]
        return [record for record in link_records if isinstance(record, LinkDecision)]


@dataclass
class PipelineProducer:
    """A producer into the pipeline's logs.

    Before `send` returns, the pipeline has processed the records, unless the agents are `agents_paused`.
    """

    pipeline: Pipeline
    agents_paused: bool = False

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        for record in records:
            self.pipeline.append(record.topic.partition(".")[2], record.key, record.value)
        latest_offset = len(self.pipeline.logs["links", 0]) - 1
        if not self.agents_paused:
            await self.pipeline.drain()
        return [(0, latest_offset)]

    async def aclose(self) -> None:
        return


@dataclass
class IdentityWorld:
    """A pipeline and an identity service that reads from it. The clock advances with each event and decision."""

    rules: CompiledIdentityRules = DEFAULT_RULES
    seed: int = 1
    broker: str = "here"
    pipeline: Pipeline = field(init=False)
    reads: HistoryReads = field(init=False)
    pipeline_producer: PipelineProducer = field(init=False)
    service: IdentityService = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(random.Random(self.seed), rules=self.rules)
        self.reads = HistoryReads(self.pipeline)
        self.pipeline_producer = PipelineProducer(self.pipeline)
        settings = Settings(tenant_secret=SECRET.decode())

        async def warehouse() -> Warehouse:
            return cast("Warehouse", self.reads)

        async def producer() -> Producer:
            if self.broker != "here":
                raise Transient("the broker does not answer")
            return self.pipeline_producer

        self.service = IdentityService(
            settings,
            self.pipeline.store,
            self.pipeline.clock,
            lambda: self.rules,
            IdentityHistory(warehouse),
            producer,
            timeout_s=0.2,
        )

    async def process_events(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.pipeline.drain()

    async def profile_of(self, node: str) -> str:
        return (await self.pipeline.store.labels([node]))[node].profile_id
