"""A broker that does not answer costs bounded memory, and no event is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest

from collector.producers import BoundedProducer
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from tests.support.collector_harness import CollectorHarness, collector_harness

TRACK = {"type": "track", "userId": "u1", "event": "Đặt hàng"}


class Lagging:
    """A producer that answers only while `open` is set. `seen` is the largest number of records it had at once."""

    def __init__(self, inner: Producer) -> None:
        self.inner, self.open = inner, asyncio.Event()
        self.held = self.seen = 0

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        self.held += len(records)
        self.seen = max(self.seen, self.held)
        try:
            await self.open.wait()
            return await self.inner.send(records)
        finally:
            self.held -= len(records)

    async def aclose(self) -> None:
        return


def body(number: int) -> bytes:
    return orjson.dumps({"batch": [{**TRACK, "messageId": f"m{number}-{n}"} for n in range(10)]})


async def send_all(at: CollectorHarness, numbers: Sequence[int]) -> dict[int, httpx.Response]:
    answers = await asyncio.gather(*(at.post("/v1/batch", content=body(number)) for number in numbers))
    return dict(zip(numbers, answers, strict=True))


@pytest.mark.parametrize("bound", [{"collector_max_pending_records": 50}, {"collector_max_pending_bytes": 64 * 1024}])
async def test_requests_above_the_in_flight_limit_are_deferred(bound: dict[str, Any]) -> None:
    lagging: list[Lagging] = []

    def lag(inner: Producer) -> Producer:
        lagging.append(Lagging(inner))
        return lagging[0]

    numbers = range(300)
    async with collector_harness(producer=lag, **bound) as at:
        sending = {number: asyncio.create_task(at.post("/v1/batch", content=body(number))) for number in numbers}
        async with asyncio.timeout(30):
            while sum(task.done() for task in sending.values()) + lagging[0].held // 10 < len(numbers):  # noqa: ASYNC110 - counted
                await asyncio.sleep(0.01)
        assert await at.records("events") == []
        lagging[0].open.set()
        answers = {number: await task for number, task in sending.items()}
        put_off = [number for number, answer in answers.items() if answer.status_code == 503]
        assert {answer.status_code for answer in answers.values()} == {200, 503}
        assert all(int(answers[number].headers["retry-after"]) >= 1 for number in put_off)
        assert lagging[0].seen <= 200
        kept = {f"m{number}-{n}" for number in numbers if number not in put_off for n in range(10)}
        assert {event.id for event in await at.events()} == kept
        while put_off:
            again = await send_all(at, put_off[:5])
            assert {answer.status_code for answer in again.values()} == {200}
            put_off = put_off[5:]
        assert {event.id for event in await at.events()} == {f"m{number}-{n}" for number in numbers for n in range(10)}
        assert at.parts.producer.pending_bytes == 0
        assert at.parts.producer.pending_records == 0
        assert at.parts.limiter.reserved_bytes == 0
        assert at.parts.limiter.active_requests == 0


async def test_unresponsive_bus_times_out() -> None:
    class Silent(Lagging):
        async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
            await asyncio.Event().wait()
            raise AssertionError(records)

    def impatient(inner: Producer) -> Producer:
        return BoundedProducer(Silent(inner), 1000, 10, timeout_s=0.01)

    async with collector_harness(producer=impatient) as at:
        answer = await at.post("/v1/track", TRACK)
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert answer.headers["retry-after"] == "2"
        assert at.parts.producer.pending_bytes == 0
        assert at.parts.producer.pending_records == 0


async def test_one_request_larger_than_the_bound_is_not_stuck_for_ever() -> None:
    async with collector_harness(collector_max_pending_records=1) as at:
        assert (await at.post("/v1/batch", content=body(1))).status_code == 200


class Forgetful:
    """A producer that writes everything, and then reports that its first send failed."""

    def __init__(self, inner: Producer) -> None:
        self.inner, self.failed = inner, False

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        places = await self.inner.send(records)
        if not self.failed:
            self.failed = True
            raise Transient("no answer")
        return places

    async def aclose(self) -> None:
        return


async def test_a_bad_event_that_is_sent_again_after_a_503_is_the_same_one() -> None:
    bad = {"type": "track", "event": "Nobody", "messageId": "m1"}
    async with collector_harness(producer=Forgetful) as at:
        for status, sent_at in ((503, "2025-06-15T15:06:40Z"), (200, "2025-06-15T15:06:42Z"), (200, "2025-06-15T15:06:44Z")):
            assert (await at.post("/v1/track", {**bad, "sentAt": sent_at})).status_code == status
        assert len({record.id for record, _ in await at.quarantined()}) == 1
        for other in ({**bad, "messageId": "m2"}, {**bad, "event": "Somebody"}):
            await at.post("/v1/track", other)
        await at.post("/v1/page", bad)
        await at.post("/v1/track", bad, auth=("key-of-the-app", ""))
        assert len({record.id for record, _ in await at.quarantined()}) == 5


async def test_bad_events_without_a_message_id_are_each_their_own() -> None:
    async with collector_harness() as at:
        for _ in range(2):
            await at.post("/v1/track", {"event": "Nobody"})
            await at.post("/v1/track", content=b"{")
        assert len({record.id for record, _ in await at.quarantined()}) == 4
