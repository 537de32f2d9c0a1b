"""Deliveries by the API and by the command's service, on a real ClickHouse: listed, shown with their history, sent again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from api.app import Api
from api.delivery_routes import DeliveryDependencies
from consumers.feeds import DELIVERIES_FEED, MEMBERSHIPS_FEED
from ops.cli.deliveries import describe
from ops.deliveries.entries import DeliveryQuery, list_deliveries
from ops.deliveries.resend import Resender
from ops.profile_reader import ProfileReader
from runtime.bus.port import Outgoing, Producer, Record
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Delivery
from tests.support.activation_world import ActivationWorld
from tests.support.api_tokens import BEARER, gate_for
from tests.support.polling import eventually_async
from tests.support.transitions import destination, transition
from tests.support.webhook_receiver import VerifiedRequest, WebhookReceiver, webhook_receiver
from warehouse.client import Warehouse
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse
PEOPLE = [f"0{number:031x}" for number in range(4)]
STATUSES = {PEOPLE[0]: 204, PEOPLE[1]: 422, PEOPLE[2]: 503, PEOPLE[3]: 204}


@dataclass
class DeliveryWorld:
    """A worker's broker and receiver, the API over them, and the tables."""

    http: httpx.AsyncClient
    activation: ActivationWorld
    warehouse: Warehouse
    receiver: WebhookReceiver

    async def records(self, topic: str) -> list[Record]:
        reader = await self.activation.bus.reader([self.activation.settings.topic(topic)])
        return [record for records in (await reader.poll(0, 10_000)).values() for record in records]

    async def consume(self) -> None:
        """Insert everything that was published into ClickHouse, as the consumers do."""
        for feed in (MEMBERSHIPS_FEED, DELIVERIES_FEED):
            batch = feed.decide(await self.records(feed.topic), self.activation.settings, self.activation.clock.now_ms())
            for table, rows in batch.rows.items():
                await ClickHouseWriter(self.warehouse).insert(table, rows)

    async def key_of(self, profile_id: str) -> str:
        (entry,) = (await self.http.get("/v1/deliveries", params={"profile_id": profile_id})).json()["deliveries"]
        return str(entry["key"])


@asynccontextmanager
async def api_client(world: ActivationWorld, warehouse: Warehouse) -> AsyncIterator[httpx.AsyncClient]:
    producer = await world.bus.producer()

    async def connected() -> Warehouse:
        return warehouse

    async def connected_producer() -> Producer:
        return producer

    dependencies = DeliveryDependencies(world.settings, world.clock, world.bus, connected, connected_producer)
    application = Api(ProfileReader(world.settings, world.store), gate_for(), deliveries=dependencies).application()
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as http:
        yield http


@pytest.fixture
async def world(clickhouse_settings: Settings, warehouse: Warehouse) -> AsyncIterator[DeliveryWorld]:
    settings = clickhouse_settings
    activation = await ActivationWorld(settings=settings).open()

    def answer(request: VerifiedRequest) -> Response:
        return Response(status_code=STATUSES[request.body["data"]["profile_id"]])

    hook: dict[str, Any] = {"retry": {"min_ms": 3_600_000, "max_ms": 3_600_000}}
    async with webhook_receiver(answer) as receiver, activation.working(destination(url=receiver.url, **hook)):
        await activation.publish([transition(profile_id=who) for who in PEOPLE[:3]])
        await activation.publish([transition(profile_id=PEOPLE[2], seq=2), transition(profile_id=PEOPLE[3], cause="merge")])
        await eventually_async(activation.deliveries, lambda deliveries: len(deliveries) == 5)
        async with api_client(activation, warehouse) as http:
            made = DeliveryWorld(http, activation, warehouse, receiver)
            await made.consume()
            yield made


async def test_deliveries_are_listed_by_what_became_of_them(world: DeliveryWorld) -> None:
    everything = (await world.http.get("/v1/deliveries")).json()["deliveries"]
    assert sorted(entry["state"] for entry in everything) == ["delivered", "failed", "skipped", "waiting", "waiting"]
    (failed,) = (await world.http.get("/v1/deliveries", params={"state": "failed"})).json()["deliveries"]
    assert failed["profile_id"] == PEOPLE[1]
    assert failed["status"] == 422
    assert failed["verdict"] == "rejected"
    waiting = (await world.http.get("/v1/deliveries", params={"state": "waiting", "destination": "hook"})).json()["deliveries"]
    assert {(entry["seq"], entry["verdict"], entry["attempts"]) for entry in waiting} == {(1, "due", 1), (2, "in_order", 0)}
    assert (await world.http.get("/v1/deliveries", params={"destination": "other"})).json()["deliveries"] == []


@pytest.mark.parametrize("query", [{"state": "sent"}, {"limit": "many"}, {"limit": "100000"}])
async def test_a_wrong_filter_is_refused(world: DeliveryWorld, query: dict[str, str]) -> None:
    answer = await world.http.get("/v1/deliveries", params=query)
    assert answer.status_code == 400


async def test_a_failed_message_is_sent_again_and_its_history_says_so(world: DeliveryWorld) -> None:
    key = await world.key_of(PEOPLE[1])
    later_statuses = {PEOPLE[1]: 204}
    world.receiver.answer = lambda got: Response(status_code=later_statuses.get(got.body["data"]["profile_id"], 503))
    answer = await world.http.post(f"/v1/deliveries/{key}/resend")
    assert answer.status_code == 202
    await eventually_async(world.activation.ended, lambda ended: len(ended) == 4)
    await world.consume()
    shown = (await world.http.get(f"/v1/deliveries/{key}")).json()
    assert shown["state"] == "delivered"
    assert [step["state"] for step in shown["history"]] == ["failed", "delivered"]
    first, again = [got for got in world.receiver.requests if got.id == key]
    assert first.raw == again.raw


async def test_a_waiting_message_is_tried_at_once_and_the_next_of_its_profile_follows(world: DeliveryWorld) -> None:
    entries = (await world.http.get("/v1/deliveries", params={"profile_id": PEOPLE[2]})).json()["deliveries"]
    key = next(entry["key"] for entry in entries if entry["seq"] == 1)
    world.receiver.answer = lambda _: Response(status_code=204)
    assert (await world.http.post(f"/v1/deliveries/{key}/resend")).status_code == 202
    await eventually_async(world.activation.ended, lambda ended: len(ended) == 5)
    sequence = [got.body["data"]["seq"] for got in world.receiver.requests if got.body["data"]["profile_id"] == PEOPLE[2]]
    assert sequence == [1, 1, 2]


async def test_what_cannot_be_sent_again_says_why(world: DeliveryWorld) -> None:
    assert (await world.http.post("/v1/deliveries/unknown/resend")).status_code == 404
    skipped = await world.http.post(f"/v1/deliveries/{await world.key_of(PEOPLE[3])}/resend")
    assert skipped.status_code == 409
    assert "nothing was to be sent" in skipped.json()["error"]["message"]
    gone = Delivery(
        key="gone", destination="hook", profile_id="0" + "e" * 31, segment="vip", op="entered", seq=9, state="failed",
        verdict="gone", attempts=1, status=410, detail="HTTP 410", transition_ms=1, at_ms=1,
    )  # fmt: skip
    producer = await world.activation.bus.producer()
    await producer.send([Outgoing(world.activation.settings.topic("deliveries"), encode(gone), b"gone")])
    await world.consume()
    answer = await world.http.post("/v1/deliveries/gone/resend")
    assert answer.status_code == 409
    assert "no longer in Kafka" in answer.json()["error"]["message"]


async def test_a_dry_run_counts_and_sends_nothing(world: DeliveryWorld) -> None:
    entries = await list_deliveries(world.warehouse, DeliveryQuery(state="all"))
    resender = Resender(world.activation.settings, world.activation.bus, None, world.activation.clock)
    before = len(await world.records("retries"))
    result = await resender.resend(world.warehouse, entries)
    assert result.resent == 4
    assert len(result.refused) == 1
    assert len(await world.records("retries")) == before


async def test_each_state_is_said_in_words(world: DeliveryWorld) -> None:
    entries = await list_deliveries(world.warehouse, DeliveryQuery())
    words = {(entry.profile_id, entry.seq): describe(entry) for entry in entries}
    assert words[PEOPLE[0], 1] == "delivered at attempt 1: HTTP 204"
    assert words[PEOPLE[1], 1] == "failed after 1 attempt: rejected, HTTP 422"
    assert words[PEOPLE[2], 1].startswith("waits after 1 attempt, the next one at ")
    assert words[PEOPLE[2], 2] == "waits behind an earlier message of its profile"
    assert words[PEOPLE[3], 1] == "skipped: silent_cause:merge"
