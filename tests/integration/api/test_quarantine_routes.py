"""Quarantine by the API, on a real ClickHouse: shown, sent again once, given up with a reason."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from api.app import Api
from api.quarantine_routes import REPLAYS_PER_SECOND, QuarantineDependencies
from consumers.feeds import QUARANTINE_FEED
from domain.intake.admission import Admission
from ops.prepare import create_topics
from ops.profile_reader import ProfileReader
from ops.quarantine.replay_decider import ReplayDecider
from profile_store.memory import MemoryStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Producer, Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import Event
from schemas.records import QuarantineRecord
from tests.support.api_tokens import BEARER, TOKEN_NAME, gate_for
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
AT_MS = 1_750_000_000_000
RAW = '{"type": "track", "userId": "khách-1"}'
MENDED = '{"type": "track", "userId": "khách-1", "event": "Đặt hàng"}'


@dataclass
class QuarantineWorld:
    """The API, the log behind it and the tables."""

    http: httpx.AsyncClient
    bus: MemoryBus
    settings: Settings
    warehouse: Warehouse
    read: int = 0

    async def records(self, topic: str) -> list[Record]:
        reader = await self.bus.reader([self.settings.topic(topic)])
        return [record for found in (await reader.poll(0, 10_000)).values() for record in found]

    async def consumed(self) -> None:
        """Insert all records of `quarantine` into its tables, as the consumer does."""
        batch = QUARANTINE_FEED.decide(await self.records("quarantine"), self.settings, AT_MS)
        for table, found in batch.rows.items():
            await ClickHouseWriter(self.warehouse).insert(table, found)

    async def state(self, name: str) -> str:
        return str((await self.http.get(f"/v1/quarantine/{name}")).json()["state"])


@pytest.fixture
async def world(clickhouse_settings: Settings, warehouse: Warehouse) -> AsyncIterator[QuarantineWorld]:
    settings = clickhouse_settings
    clock, bus = ManualClock(AT_MS + 60_000), MemoryBus(ManualClock(AT_MS))
    await create_topics(settings, bus)
    producer = await bus.producer()
    said = [
        QuarantineRecord(
            id=f"collector-{number}", stage="collector", reason="missing_field", detail="event: is missing", source="default",
            topic="", partition=-1, offset=-1, raw=base64.b64encode(RAW.encode()).decode(), at_ms=AT_MS + number, counted=True,
        )
        for number in range(3)
    ]  # fmt: skip
    await producer.send([Outgoing(settings.topic("quarantine"), encode(record)) for record in said])

    async def reached() -> Warehouse:
        return warehouse

    async def produced() -> Producer:
        return producer

    held = QuarantineDependencies(settings, clock, reached, produced, lambda: ReplayDecider(settings, [], Admission()))
    api = Api(ProfileReader(settings, MemoryStore(clock)), gate_for(), quarantine=held)
    transport = httpx.ASGITransport(api.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as http:
        made = QuarantineWorld(http, bus, settings, warehouse)
        await made.consumed()
        yield made


async def test_quarantined_record_is_shown_fixed_and_replayed_once(world: QuarantineWorld) -> None:
    listed = (await world.http.get("/v1/quarantine", params={"reason": "missing_field", "limit": 2})).json()["records"]
    assert [entry["id"] for entry in listed] == ["collector-2", "collector-1"]
    shown = (await world.http.get("/v1/quarantine/collector-1")).json()
    assert base64.b64decode(shown["raw"]).decode() == RAW

    refused = await world.http.post("/v1/quarantine/collector-1/replay", json={})
    assert refused.status_code == 409
    assert await world.records("events") == []
    sent = await world.http.post("/v1/quarantine/collector-1/replay", json={"raw": MENDED})
    assert sent.status_code == 202
    (record,) = await world.records("events")
    said = decode(Event, record.value)
    assert said.name == "Đặt hàng"
    assert said.id == "collector-1"
    assert said.received_ms == AT_MS + 1

    await world.consumed()
    assert await world.state("collector-1") == "replayed"
    again = await world.http.post("/v1/quarantine/collector-1/replay", json={"raw": MENDED})
    assert 400 <= again.status_code < 500
    assert len(await world.records("events")) == 1


async def test_quarantined_record_is_discarded_with_a_reason(world: QuarantineWorld) -> None:
    assert (await world.http.post("/v1/quarantine/collector-0/discard", json={})).status_code == 400
    given_up = {"because": "thử nghiệm"}
    assert (await world.http.post("/v1/quarantine/collector-0/discard", json=given_up)).status_code == 202
    await world.consumed()
    shown = (await world.http.get("/v1/quarantine/collector-0")).json()
    assert shown["state"] == "discarded"
    assert shown["by"] == TOKEN_NAME
    assert shown["because"] == "thử nghiệm"
    assert len((await world.http.get("/v1/quarantine")).json()["records"]) == 2


async def test_without_the_token_and_beyond_the_rate_nothing_is_sent(world: QuarantineWorld) -> None:
    assert (await world.http.get("/v1/quarantine", headers={"Authorization": "Bearer wrong"})).status_code == 401
    missing = "/v1/quarantine/collector-missing/replay"
    answers = {(await world.http.post(missing, json={})).status_code for _ in range(REPLAYS_PER_SECOND)}
    assert all(400 <= status < 500 and status != 429 for status in answers)
    limited = await world.http.post("/v1/quarantine/collector-1/replay", json={"raw": MENDED})
    assert limited.status_code == 429
    assert limited.headers["Retry-After"] == "1"
    assert await world.records("events") == []
