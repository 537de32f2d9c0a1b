"""A collector in this process, over the in-memory bus or a producer that fails."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette

from collector.app import create_app
from collector.context import CollectorParts
from collector.source_registry import Sources
from domain.definitions.kinds import Metadata, Source, SourceSpec, key_hash
from domain.intake.trust import Trust
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.quarantine import raw_bytes
from schemas.records import QuarantineRecord

KEY = "key-of-the-shop"
OTHER_KEY = "key-of-the-app"
NOW_MS = 1_750_000_000_000


def source(name: str, *keys: str, trust: Trust = "trusted") -> Source:
    """Return a source with these write keys. It is trusted, so that a test may send what it likes."""
    spec = SourceSpec(trust=trust, write_key_sha256=tuple(key_hash(key) for key in keys))
    return Source(apiVersion="onefold/v1", kind="Source", metadata=Metadata(name=name), spec=spec)


def known_sources() -> Sources:
    """Return the sources `default` (KEY) and `app` (OTHER_KEY), caught up."""
    sources = Sources()
    sources.replace_all({"Source/default": source("default", KEY), "Source/app": source("app", OTHER_KEY)})
    return sources


class UnreachableProducer:
    """A producer whose broker cannot be reached."""

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        raise Transient(f"no broker for {len(records)} records")

    async def aclose(self) -> None:
        return


@dataclass
class CollectorHarness:
    """A collector, a client of it and the bus behind it."""

    http: httpx.AsyncClient
    bus: MemoryBus
    settings: Settings
    metrics: Metrics
    sources: Sources
    app: Starlette
    parts: CollectorParts
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))

    async def post(self, path: str, body: Any = None, *, content: bytes | None = None, **more: Any) -> httpx.Response:
        """Send a POST request with the shop's write key, or with `auth` if it is given."""
        more.setdefault("auth", (KEY, ""))
        raw = orjson.dumps(body) if content is None else content
        return await self.http.post(path, content=raw, **more)

    async def records(self, topic: str) -> list[Record]:
        """Return all records of a topic."""
        reader = await self.bus.reader([self.settings.topic(topic)])
        polled = await reader.poll(0, 100_000)
        return [record for partition_records in polled.values() for record in partition_records]

    async def events(self) -> list[Event]:
        """Return all events of `events`, sorted by message id."""
        return sorted([decode(Event, record.value) for record in await self.records("events")], key=lambda event: event.id)

    async def quarantined(self) -> list[tuple[QuarantineRecord, bytes]]:
        """Return all records of `quarantine` with their raw bytes."""
        entries = [decode(QuarantineRecord, record.value) for record in await self.records("quarantine")]
        return [(record, raw_bytes(record)) for record in entries]


@asynccontextmanager
async def collector_harness(
    *,
    away: bool = False,
    caught_up: bool = True,
    producer: Callable[[Producer], Producer] | None = None,
    spec: dict[str, Any] | None = None,
    **changed: Any,
) -> AsyncIterator[CollectorHarness]:
    """Start a collector with `changed` settings and yield its harness.

    `away` makes its broker unreachable; without `caught_up` it knows no sources yet.
    `producer` wraps the bus's producer; `spec` changes the source `default`.
    """
    settings, metrics, clock = Settings(**changed), Metrics(), ManualClock(NOW_MS)
    sources = known_sources() if caught_up else Sources()
    bus = MemoryBus(clock)
    await bus.create_topics({settings.topic(name): (3, {}) for name in ("events", "quarantine")})
    if spec is not None:
        shop = source("default", KEY)
        changed_spec = SourceSpec.model_validate({**shop.spec.model_dump(), **spec})
        sources.replace_all(
            {"Source/default": shop.model_copy(update={"spec": changed_spec}), "Source/app": source("app", OTHER_KEY)}
        )
    inner: Producer = UnreachableProducer() if away else await bus.producer()
    app = create_app(settings, producer(inner) if producer else inner, clock, sources, metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector.test") as http:
        yield CollectorHarness(http, bus, settings, metrics, sources, app, app.state.parts, clock)
