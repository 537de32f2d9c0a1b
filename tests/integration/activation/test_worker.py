"""A worker between the broker's twin, the store's twin and a real HTTP receiver on loopback."""

import asyncio
import functools
from typing import Any

import pytest
from starlette.responses import Response

from activation.fleet import Fleet
from activation.webhook_message import idempotency_key
from domain.definitions.kinds import Destination, encode_definition
from profile_store.memory import MemoryStore
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import Transient
from schemas.records import QuarantineRecord, WaitingDelivery
from tests.support.activation_world import SETTINGS, ActivationWorld
from tests.support.polling import eventually_async
from tests.support.transitions import destination, transition
from tests.support.webhook_receiver import VerifiedRequest, webhook_receiver

wait_until = functools.partial(eventually_async, within_s=20)


@pytest.fixture
async def world() -> ActivationWorld:
    return await ActivationWorld().open()


async def test_a_due_transition_is_delivered_once_and_recorded(world: ActivationWorld) -> None:
    async with webhook_receiver() as receiver:
        hook = destination(url=receiver.url)
        async with world.working(hook):
            await world.publish([transition(), transition(), transition(segment="other"), transition(op="exited", seq=2)])
            await wait_until(lambda: receiver.requests)

            async def all_read() -> bool:
                return await world.committed() == 4

            await wait_until(all_read)
    (got,) = receiver.requests
    (said,) = await world.deliveries()
    assert got.id == said.key == idempotency_key(transition(), "hook")
    assert said.state == "delivered"
    assert said.verdict == "due"
    assert said.attempts == 1
    assert said.status == 204


async def test_silent_transition_is_recorded_but_not_sent(world: ActivationWorld) -> None:
    async with webhook_receiver() as receiver, world.working(destination(url=receiver.url)):
        await world.publish([transition(cause="merge")])
        await wait_until(world.deliveries)
        assert receiver.requests == []
    (said,) = await world.deliveries()
    assert said.state == "skipped"
    assert said.verdict == "silent_cause:merge"
    assert said.attempts == 0


async def test_a_crash_between_delivery_and_settling_repeats_the_same_message(world: ActivationWorld) -> None:
    class Cut(MemoryStore):
        async def settle_delivery(self, key: str, ttl_ms: int) -> None:  # noqa: ARG002 - the port's signature
            raise Transient("the store is away")

    whole, world.store = world.store, Cut(world.clock)
    async with webhook_receiver() as receiver:
        hook = destination(url=receiver.url)
        crashing = asyncio.create_task(world.worker(hook).run(asyncio.Event()))
        await world.publish([transition()])
        await wait_until(world.deliveries)
        crashing.cancel()
        await asyncio.gather(crashing, return_exceptions=True)
        assert await world.committed() == 0
        world.store = whole
        async with world.working(hook):

            async def committed() -> bool:
                return await world.committed() == 1

            await wait_until(committed)
    first, second = receiver.requests
    assert first.id == second.id
    assert first.raw == second.raw


async def test_store_outage_delays_messages_without_loss(world: ActivationWorld) -> None:
    class Away(MemoryStore):
        attempts = 0

        async def is_delivery_open(self, key: str) -> bool:
            self.attempts += 1
            if self.attempts <= 2:
                raise Transient("the store is away")
            return await super().is_delivery_open(key)

    async def is_committed() -> bool:
        return await world.committed() == 1

    world.store = store = Away(world.clock)
    async with webhook_receiver() as receiver, world.working(destination(url=receiver.url)):
        await world.publish([transition()])
        await wait_until(is_committed)
    assert store.attempts == 3
    assert len(receiver.requests) == 1
    assert [delivery.state for delivery in await world.deliveries()] == ["delivered"]


async def test_a_delivery_retried_after_503_has_one_id(world: ActivationWorld) -> None:
    answers = [503, 429, 200]
    async with (
        webhook_receiver(lambda _: Response(status_code=answers.pop(0))) as receiver,
        world.working(destination(url=receiver.url)),
    ):
        await world.publish([transition()])
        await wait_until(world.ended)
    first, second, last = await world.deliveries()
    assert [first.state, second.state, last.state] == ["waiting", "waiting", "delivered"]
    assert [first.status, second.status, last.status] == [503, 429, 200]
    assert [first.attempts, second.attempts, last.attempts] == [1, 2, 3]
    assert first.next_ms > 0
    assert last.next_ms == 0
    assert len({got.id for got in receiver.requests}) == 1


@pytest.mark.parametrize(("status", "verdict"), [(410, "gone"), (422, "rejected"), (413, "rejected")])
async def test_a_final_answer_fails_the_message_and_the_next_one_follows(world: ActivationWorld, status: int, verdict: str) -> None:
    async with webhook_receiver(lambda _: Response(status_code=status)) as receiver, world.working(destination(url=receiver.url)):
        await world.publish([transition(), transition(seq=2)])

        async def both() -> bool:
            return len(await world.deliveries()) == 2

        await wait_until(both)
    assert [(d.state, d.verdict, d.attempts, d.status) for d in await world.deliveries()] == [("failed", verdict, 1, status)] * 2


async def test_retries_end_as_failed_at_their_age() -> None:
    clock = ManualClock()
    world = await ActivationWorld(clock).open()
    hook: dict[str, Any] = {"retry": {"max_age_ms": 30_000, "min_ms": 12_000, "max_ms": 12_000}}

    async with (
        webhook_receiver(lambda _: Response(status_code=500, headers={"retry-after": "3600"}), clock) as receiver,
        world.working(destination(url=receiver.url, **hook)),
    ):
        await world.publish([transition()])
        await wait_until(world.ended, on_poll=lambda: clock.advance(1_000))
    (said,) = await world.ended()
    assert said.state == "failed"
    assert said.verdict == "retries_exhausted"
    assert said.status == 500
    assert said.attempts == len(receiver.requests)
    *_, last_wait = await world.read("retries", WaitingDelivery)
    assert last_wait.due_ms == last_wait.since_ms + 30_000
    assert said.attempts == last_wait.attempts + 1


async def test_a_profiles_messages_keep_their_order_through_retries(world: ActivationWorld) -> None:
    refused: dict[str, int] = {}

    def shaky(got: VerifiedRequest) -> Response:
        refused[got.id] = refused.get(got.id, 0) + 1
        return Response(status_code=200 if refused[got.id] > got.body["data"]["seq"] % 3 else 503)

    people = [f"0{n:031x}" for n in range(12)]
    said = [transition(profile_id=who, seq=seq) for seq in range(1, 6) for who in people]
    async with webhook_receiver(shaky) as receiver, world.working(destination(url=receiver.url, concurrency=4)):
        await world.publish(said)

        async def all_said() -> bool:
            return len(await world.ended()) == len(said)

        await wait_until(all_said)
    for who in people:
        seen = [got.body["data"]["seq"] for got in receiver.requests if got.body["data"]["profile_id"] == who]
        assert seen == sorted(seen)
        assert set(seen) == set(range(1, 6))


async def test_concurrent_attempts_stay_within_the_destinations_limit(world: ActivationWorld) -> None:
    now, most = 0, 0

    async def slow(_: VerifiedRequest) -> Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return Response(status_code=200)

    async with webhook_receiver(slow) as receiver, world.working(destination(url=receiver.url, concurrency=3)):
        await world.publish([transition(profile_id=f"0{n:031x}") for n in range(300)])
        await wait_until(lambda: len(receiver.requests) == 300)
    assert most == 3


async def test_a_stuck_destination_does_not_stall_another(world: ActivationWorld) -> None:
    released = asyncio.Event()

    async def stuck(_: VerifiedRequest) -> Response:
        await released.wait()
        return Response(status_code=200)

    async with (
        webhook_receiver(stuck) as slow,
        webhook_receiver() as quick,
        world.working(destination("slow", slow.url, concurrency=1), destination("quick", quick.url)),
    ):
        await world.publish([transition(profile_id=f"0{n:031x}") for n in range(50)])
        await wait_until(lambda: len(quick.requests) == 50)
        assert len(slow.requests) <= 1
        released.set()
        await wait_until(lambda: len(slow.requests) == 50)


async def test_invalid_transition_is_quarantined_and_skipped(world: ActivationWorld) -> None:
    async with webhook_receiver() as receiver, world.working(destination(url=receiver.url)):
        producer = await world.bus.producer()
        await producer.send([Outgoing(SETTINGS.topic("memberships"), b"not json", key=b"x")])
        await world.publish([transition()])
        await wait_until(lambda: receiver.requests)

        async def both() -> bool:
            return await world.committed() == 2

        await wait_until(both)
    (held,) = await world.read("quarantine", QuarantineRecord)
    assert held.stage == "activation"
    assert held.reason == "unparsable"
    assert held.counted is False


async def test_workers_follow_the_definitions(world: ActivationWorld) -> None:
    stop = asyncio.Event()
    async with webhook_receiver() as first, webhook_receiver() as second:
        fleet = Fleet(SETTINGS, world.bus, world.worker)
        running = asyncio.create_task(fleet.run(stop))
        await define(world, destination(url=first.url))
        await world.publish([transition()])
        await wait_until(lambda: first.requests)
        await define(world, destination(url=second.url))
        await wait_until(lambda: fleet.addresses() == {"hook": second.url})
        await world.publish([transition(seq=2)])
        await wait_until(lambda: second.requests)
        await define(world, None)
        await wait_until(lambda: fleet.addresses() == {})
        stop.set()
        await running
    assert [got.body["data"]["seq"] for got in first.requests] == [1]
    assert [got.body["data"]["seq"] for got in second.requests] == [2]


async def define(world: ActivationWorld, hook: Destination | None) -> None:
    producer = await world.bus.producer()
    value = None if hook is None else encode_definition(hook)
    await producer.send([Outgoing(SETTINGS.topic("definitions"), value, key=b"Destination/hook")])
