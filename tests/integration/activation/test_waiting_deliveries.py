"""Messages that wait: none is lost, nothing else is held up, and the order of a profile stays, whatever happens meanwhile."""

import asyncio
import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.responses import Response

from activation.fleet import Fleet
from activation.worker import Worker
from domain.definitions.kinds import Destination, encode_definition
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import Misconfigured
from schemas.codec import encode
from schemas.records import QuarantineRecord, Transition, WaitingDelivery
from tests.support.activation_world import SETTINGS, ActivationWorld
from tests.support.polling import eventually_async
from tests.support.transitions import destination, transition
from tests.support.webhook_receiver import VerifiedRequest, webhook_receiver

wait_until = functools.partial(eventually_async, within_s=60)

HOUR_MS = 3_600_000
DEFAULT_RETRY: dict[str, Any] = {"retry": {}}
QUICK_RETRY: dict[str, Any] = {"retry": {"min_ms": 1, "max_ms": 5}}


def profile(number: int) -> str:
    return f"0{number:031x}"


def story(profiles: int, each: int, first_seq: int = 1) -> list[Transition]:
    """Return `each` transitions of every profile, dealt out over the profiles in turn."""
    return [transition(profile_id=profile(n), seq=seq) for seq in range(first_seq, first_seq + each) for n in range(profiles)]


def has_count(count: int, values: Sequence[object]) -> bool:
    return len(values) == count


class Absent:
    """A receiver that answers `status` while it is away, and remembers which messages it was asked to take and which it took."""

    def __init__(self, status: int = 503, headers: dict[str, str] | None = None) -> None:
        self.status, self.headers, self.away = status, headers, True
        self.asked: dict[str, list[int]] = defaultdict(list)
        self.taken: dict[str, list[int]] = defaultdict(list)

    def answer(self, request: VerifiedRequest) -> Response:
        data = request.body["data"]
        for seen in (self.asked,) if self.away else (self.asked, self.taken):
            if data["seq"] not in seen[data["profile_id"]]:
                seen[data["profile_id"]].append(data["seq"])
        return Response(status_code=self.status if self.away else 204, headers=self.headers if self.away else None)


def assert_taken_in_order(receiver: Absent, expected: Sequence[Transition]) -> None:
    """Assert that the receiver took every message, and was asked to take those of each profile in their order."""
    due: dict[str, list[int]] = defaultdict(list)
    for message in expected:
        due[message.profile_id].append(message.seq)
    assert receiver.taken == due
    assert receiver.asked == due


@pytest.mark.parametrize("status", [308, 401, 503])
async def test_a_receiver_that_is_away_for_an_hour_misses_nothing(status: int) -> None:
    clock, absent = ManualClock(), Absent(status, {"retry-after": "86400"})
    world, expected = await ActivationWorld(clock).open(), story(20, 3)
    away_until_ms = clock.now_ms() + HOUR_MS

    def pass_time() -> None:
        clock.advance(60_000)
        absent.away = clock.now_ms() < away_until_ms

    async def all_ended() -> bool:
        return len(await world.ended()) == len(expected)

    async with (
        webhook_receiver(absent.answer, clock) as receiver,
        world.working(destination(url=receiver.url, **DEFAULT_RETRY)),
    ):
        await world.publish(expected[:30])
        await wait_until(world.committed, lambda committed: committed == 30)
        assert await world.ended() == []
        await world.publish(expected[30:])
        await wait_until(world.committed, lambda committed: committed == len(expected))
        await wait_until(all_ended, on_poll=pass_time, every_s=0.05)
    assert {delivery.state for delivery in await world.ended()} == {"delivered"}
    assert_taken_in_order(absent, expected)
    assert clock.now_ms() >= away_until_ms


async def test_more_waiting_messages_than_may_be_under_way_hold_up_neither_others_nor_the_commit() -> None:
    world, stuck, free = await ActivationWorld().open(), story(600, 1), [transition(profile_id="1" + "f" * 31)]
    hook: dict[str, Any] = {"concurrency": 4, "retry": {"min_ms": HOUR_MS, "max_ms": HOUR_MS}}
    async with (
        webhook_receiver(lambda got: Response(status_code=200 if got.body["data"]["profile_id"][0] == "1" else 404)) as receiver,
        world.working(destination(url=receiver.url, **hook)),
    ):
        await world.publish([*stuck, *free])
        await wait_until(world.committed, lambda committed: committed == 601)
        await wait_until(world.ended)
    (delivery,) = await world.ended()
    assert delivery.profile_id == free[0].profile_id


async def test_what_waits_survives_a_kill_and_keeps_its_order() -> None:
    world, absent, expected = await ActivationWorld().open(), Absent(), story(5, 3)
    async with webhook_receiver(absent.answer) as receiver:
        hook = destination(url=receiver.url, **QUICK_RETRY)
        async with world.killed_at_the_end(hook):
            await world.publish(expected)
            await wait_until(world.committed, lambda committed: committed == len(expected))
        await world.bus.compact(SETTINGS.topic("retries"))
        absent.away = False
        async with world.working(hook):
            await wait_until(world.ended, lambda ended: len(ended) == len(expected))
    assert_taken_in_order(absent, expected)
    last = max(await world.ended(), key=lambda delivery: delivery.attempts)
    assert last.attempts > 1, "the attempts before the kill count"


async def test_the_instant_of_the_next_attempt_survives_a_kill() -> None:
    clock = ManualClock()
    world, absent = await ActivationWorld(clock).open(), Absent(headers={"retry-after": "600"})
    async with webhook_receiver(absent.answer, clock) as receiver:
        hook = destination(url=receiver.url, **DEFAULT_RETRY)
        async with world.killed_at_the_end(hook):
            await world.publish([transition()])
            await wait_until(world.committed)
        async with world.killed_at_the_end(hook) as worker:
            await wait_until(lambda: worker.waiting_count == 1)
            clock.advance(599_000)
            await world.publish([transition(profile_id=profile(1))])
            await wait_until(world.committed, lambda committed: committed == 2)
            assert [got.body["data"]["profile_id"] for got in receiver.requests] == [transition().profile_id, profile(1)]
            absent.away = False
            clock.advance(1_000)
            await wait_until(world.ended)


async def test_a_message_that_was_settled_before_the_kill_is_not_sent_again() -> None:
    world, absent = await ActivationWorld().open(), Absent()
    async with webhook_receiver(absent.answer) as receiver:
        hook = destination(url=receiver.url, **QUICK_RETRY)
        async with world.killed_at_the_end(hook):
            await world.publish([transition()])
            await wait_until(world.committed)
        (waits, *_) = await world.read("retries", WaitingDelivery)
        await world.store.settle_delivery(waits.key, HOUR_MS)
        sent = len(receiver.requests)
        async with world.working(hook):
            await world.publish([transition(seq=2)])
            absent.away = False
            await wait_until(world.ended)
    assert [got.body["data"]["seq"] for got in receiver.requests[sent:]] == [2]


async def test_workers_that_come_and_go_lose_nothing_and_keep_the_order() -> None:
    world, absent, expected = await ActivationWorld().open(), Absent(), story(12, 4)
    async with webhook_receiver(absent.answer) as receiver:
        hook = destination(url=receiver.url, **QUICK_RETRY)
        async with world.killed_at_the_end(hook):
            await world.publish(expected[:24])
            await wait_until(world.committed, lambda committed: committed == 24)
            async with world.killed_at_the_end(hook):
                await world.publish(expected[24:36])
                await wait_until(world.committed, lambda committed: committed == 36)
            async with world.working(hook):
                await world.publish(expected[36:])
                absent.away = False
                await wait_until(world.ended, lambda ended: len({d.key for d in ended}) == len(expected))
    assert_taken_in_order(absent, expected)


async def test_a_retry_after_of_a_day_waits_no_longer_than_the_longest_wait() -> None:
    world, answers = await ActivationWorld().open(), [503, 204]
    async with (
        webhook_receiver(lambda _: Response(status_code=answers.pop(0), headers={"retry-after": "86400"})) as receiver,
        world.working(destination(url=receiver.url, **QUICK_RETRY)),
    ):
        await world.publish([transition()])
        await wait_until(world.ended)
    assert len(receiver.requests) == 2


async def test_a_message_of_an_operator_is_sent_again_with_its_id_even_if_it_has_ended() -> None:
    world = await ActivationWorld().open()
    async with webhook_receiver() as receiver, world.working(destination(url=receiver.url)):
        await world.publish([transition()])
        await wait_until(world.ended)
        (ended,) = await world.ended()
        for resent_ms in (1, 2):
            again = WaitingDelivery(
                key=ended.key, destination="hook", transition=transition(), offset=0, attempts=0,
                since_ms=world.clock.now_ms(), due_ms=0, resent_ms=resent_ms,
            )  # fmt: skip
            producer = await world.bus.producer()
            await producer.send([Outgoing(SETTINGS.topic("retries"), encode(again), ended.key.encode())])
            await wait_until(world.ended, functools.partial(has_count, resent_ms + 1))
    first, second, third = receiver.requests
    assert first.id == second.id == third.id
    assert first.raw == second.raw == third.raw


async def test_an_invalid_record_of_retries_is_quarantined_and_the_rest_goes_on() -> None:
    world = await ActivationWorld().open()
    producer = await world.bus.producer()
    await producer.send([Outgoing(SETTINGS.topic("retries"), b"not json", key=b"k", partition=number) for number in range(3)])
    async with webhook_receiver() as receiver, world.working(destination(url=receiver.url)):
        await world.publish([transition()])
        await wait_until(lambda: receiver.requests)
    quarantined = await world.read("quarantine", QuarantineRecord)
    assert [record.topic for record in quarantined] == [SETTINGS.topic("retries")] * 3
    assert not any(record.counted for record in quarantined)


async def test_a_stopped_worker_lets_the_attempts_under_way_end() -> None:
    world, asked, released = await ActivationWorld().open(), asyncio.Event(), asyncio.Event()

    async def slow(_: VerifiedRequest) -> Response:
        if not asked.is_set():
            asked.set()
            return Response(status_code=503)
        await released.wait()
        return Response(status_code=204)

    async with webhook_receiver(slow) as receiver:
        stop = asyncio.Event()
        running = asyncio.create_task(world.worker(destination(url=receiver.url, **QUICK_RETRY)).run(stop))
        await world.publish([transition()])
        await wait_until(lambda: len(receiver.requests) == 2)
        stop.set()
        released.set()
        await running
    (ended,) = await world.ended()
    assert ended.state == "delivered"


async def test_what_waits_is_said_with_its_cure() -> None:
    world, absent, has_secret = await ActivationWorld().open(), Absent(404), False

    def make_worker(hook: Destination) -> Worker:
        if not has_secret:
            raise Misconfigured(f"destination {hook.metadata.name}: HOOK_SECRET is not set in the environment of activation")
        return world.worker(hook)

    stop = asyncio.Event()
    async with webhook_receiver(absent.answer) as receiver:
        fleet = Fleet(SETTINGS, world.bus, make_worker)
        running = asyncio.create_task(fleet.run(stop))
        await wait_until(fleet.caught_up.is_set)
        assert fleet.waits() == []
        producer = await world.bus.producer()
        hook = encode_definition(destination(url=receiver.url, **QUICK_RETRY))
        await producer.send([Outgoing(SETTINGS.topic("definitions"), hook, key=b"Destination/hook")])
        (sentence,) = await wait_until(fleet.waits)
        assert "HOOK_SECRET is not set" in sentence
        has_secret = True
        await world.publish([transition()])
        await wait_until(fleet.waits, lambda waits: "destination hook: 1 messages wait" in str(waits) and "HTTP 404" in str(waits))
        absent.away = False
        await wait_until(fleet.waits, lambda waits: waits == [])
        stop.set()
        await running
