"""The desk of identity over the pipeline's twin: decisions go to its log, ClickHouse's named reads are answered from its logs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ops.identity.service import Desk
from ops.identity.audit import History
from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.records import Decided, LinkRecord
from domain.identity.rules import DEFAULT_RULES, Rules
from tests.support.events import SECRET
from tests.support.simulated_pipeline import Pipeline


@dataclass
class Remembering:
    """The reads of a warehouse that has consumed all of the pipeline's logs; `away`, it answers nothing."""

    pipeline: Pipeline
    away: bool = False

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if self.away:
            raise Transient("ClickHouse does not answer")
        given = dict(parameters or {})
        if sql == reads.statement("event"):
            found = [e for e in self.events() if (e.owner, e.id) == (given["owner"], given["id"])][:1]
            return [(e.type, e.name, e.source, e.time_ms, e.received_ms, list(e.nodes)) for e in found]
        if sql == reads.statement("operation"):
            said = [d for d in self.decided() if d.operation == given["operation"]]
            return [(d.action, *key, d.on, d.at_ms, d.of, d.by, d.reason) for d in said for key in d.pairs]
        assert sql == reads.statement("operations")
        newest = sorted(self.decided(), key=lambda d: (d.at_ms, d.operation), reverse=True)[: given["limit"]]
        return [(d.operation, d.action, d.on, d.at_ms, d.of, d.by, d.reason, len(d.pairs)) for d in newest]

    async def aclose(self) -> None:
        return

    def events(self) -> list[Event]:
        logs = [log for (topic, _), log in sorted(self.pipeline.logs.items()) if topic == "events"]
        return [decode(Event, record.value) for log in logs for record in log]

    def decided(self) -> list[Decided]:
        said = [decode(LinkRecord, record.value) for record in self.pipeline.logs["links", 0]]
        return [record for record in said if isinstance(record, Decided)]


@dataclass
class ToPipeline:
    """A producer into the pipeline's logs, which come to rest before it returns, unless the agents are `asleep`."""

    pipeline: Pipeline
    asleep: bool = False

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        for record in records:
            self.pipeline.append(record.topic.partition(".")[2], record.key, record.value)
        last = len(self.pipeline.logs["links", 0]) - 1
        if not self.asleep:
            await self.pipeline.drain()
        return [(0, last)]

    async def aclose(self) -> None:
        return


@dataclass
class World:
    """A pipeline and a desk that looks at it. The clock moves with each thing that happens."""

    rules: Rules = DEFAULT_RULES
    seed: int = 1
    broker: str = "here"
    pipeline: Pipeline = field(init=False)
    memory: Remembering = field(init=False)
    to: ToPipeline = field(init=False)
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(random.Random(self.seed), rules=self.rules)
        self.memory = Remembering(self.pipeline)
        self.to = ToPipeline(self.pipeline)
        settings = Settings(tenant_secret=SECRET.decode(), api_token="a-token-of-some-length")

        async def warehouse() -> Warehouse:
            return cast("Warehouse", self.memory)

        async def producer() -> Producer:
            if self.broker != "here":
                raise Transient("the broker does not answer")
            return self.to

        self.desk = Desk(
            settings, self.pipeline.store, self.pipeline.clock, lambda: self.rules, History(warehouse), producer, wait_s=0.2
        )

    async def happen(self, *events: Event) -> None:
        for event in events:
            self.pipeline.feed(event)
        self.pipeline.clock.advance(1_000)
        await self.pipeline.drain()

    async def profile_of(self, node: str) -> str:
        return (await self.pipeline.store.labels([node]))[node].profile_id
