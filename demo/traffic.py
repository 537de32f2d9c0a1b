"""Sends the simulation into Onefold: the shop's calls by Segment's own client over HTTP, the call centre's straight to Kafka."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

from segment.analytics.client import Client

from demo.simulation import Action, Call
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.retry import retrying
from runtime.settings import Settings

_TICK_S: Final = 0.05
_SEND_ATTEMPTS: Final = 20


class Traffic:
    """`called` and `produced` count what was sent, `failed` what the client gave up on."""

    def __init__(self, settings: Settings, bus: Bus, clock: Clock, collector: str, write_key: str) -> None:
        self._settings, self._bus, self._clock = settings, bus, clock
        self.called = self.produced = self.failed = 0
        self._client = Client(write_key, host=collector, on_error=self._given_up, upload_interval=0.2)

    @property
    def sent(self) -> int:
        """All events that Onefold must have accepted."""
        return self.called + self.produced - self.failed

    def _given_up(self, _: Exception, batch: list[Any]) -> None:
        self.failed += len(batch)

    async def run(self, actions: Iterator[Action], rate: float, stop: asyncio.Event, seconds: float | None) -> None:
        """`rate` events a second until `stop` is set or the time is up."""
        producer = await self._bus.producer()
        started, done = time.monotonic(), 0
        try:
            while not stop.is_set():
                now = time.monotonic() - started
                if seconds is not None and now >= seconds:
                    return
                while done < now * rate:
                    action = next(actions)
                    if isinstance(action, Call):
                        await self._call(action)
                    else:
                        record = Outgoing(self._settings.topic("touchpoints"), action.record(self._clock.now_ms()))
                        await retrying(lambda record=record: producer.send([record]), attempts=_SEND_ATTEMPTS)  # type: ignore[misc]  # a lambda's default has no annotation
                        self.produced += 1
                    done += 1
                await asyncio.sleep(_TICK_S)
        finally:
            await producer.aclose()

    async def _call(self, call: Call) -> None:
        common = {"anonymous_id": call.anonymous_id, "user_id": call.user_id, "message_id": call.message_id}
        context = {"locale": "vi-VN", "timezone": "Asia/Saigon"}
        while True:
            if call.kind == "page":
                taken, _ = self._client.page(name=call.name, properties=dict(call.properties), context=context, **common)
            elif call.kind == "identify":
                taken, _ = self._client.identify(traits=dict(call.traits), context=context, **common)
            else:
                taken, _ = self._client.track(event=call.name, properties=dict(call.properties), context=context, **common)
            if taken:
                self.called += 1
                return
            await asyncio.sleep(_TICK_S)  # the client's queue is full

    async def flush(self) -> None:
        """Return when the client has sent what it holds, or has given up on it."""
        await asyncio.to_thread(self._client.shutdown)
