"""Sends the simulation into Onefold: the shop's calls by Segment's own client over HTTP, the call centre's straight to Kafka."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

from segment.analytics.client import Client

from demo.simulation import Action, DemoCall
from runtime.bus.port import Bus, Outgoing
from runtime.clock import Clock
from runtime.retry import retry
from runtime.settings import Settings

_TICK_S: Final = 0.05
_SEND_ATTEMPTS: Final = 20


class Traffic:
    """`calls` and `produced` count what was sent, `failed` what the client gave up on."""

    def __init__(self, settings: Settings, bus: Bus, clock: Clock, collector: str, write_key: str) -> None:
        self._settings, self._bus, self._clock = settings, bus, clock
        self.calls = self.produced = self.failed = 0
        self._client = Client(write_key, host=collector, on_error=self._on_delivery_failure, upload_interval=0.2)

    @property
    def sent(self) -> int:
        """All events that Onefold must have accepted."""
        return self.calls + self.produced - self.failed

    def _on_delivery_failure(self, _: Exception, batch: list[Any]) -> None:
        self.failed += len(batch)

    async def run(self, actions: Iterator[Action], rate: float, stop: asyncio.Event, seconds: float | None) -> None:
        """`rate` events a second until `stop` is set or the time is up."""
        producer = await self._bus.producer()
        started, sent_count = time.monotonic(), 0
        try:
            while not stop.is_set():
                elapsed_s = time.monotonic() - started
                if seconds is not None and elapsed_s >= seconds:
                    return
                while sent_count < elapsed_s * rate:
                    action = next(actions)
                    if isinstance(action, DemoCall):
                        await self._send_call(action)
                    else:
                        record = Outgoing(self._settings.topic("touchpoints"), action.record_value(self._clock.now_ms()))
                        await retry(lambda record=record: producer.send([record]), attempts=_SEND_ATTEMPTS)  # type: ignore[misc]  # a lambda's default has no annotation
                        self.produced += 1
                    sent_count += 1
                await asyncio.sleep(_TICK_S)
        finally:
            await producer.aclose()

    async def _send_call(self, call: DemoCall) -> None:
        common = {"anonymous_id": call.anonymous_id, "user_id": call.user_id, "message_id": call.message_id}
        context = {"locale": "vi-VN", "timezone": "Asia/Saigon"}
        while True:
            if call.kind == "page":
                is_queued, _ = self._client.page(name=call.name, properties=dict(call.properties), context=context, **common)
            elif call.kind == "identify":
                is_queued, _ = self._client.identify(traits=dict(call.traits), context=context, **common)
            else:
                is_queued, _ = self._client.track(event=call.name, properties=dict(call.properties), context=context, **common)
            if is_queued:
                self.calls += 1
                return
            await asyncio.sleep(_TICK_S)  # the client's queue is full

    async def flush(self) -> None:
        """Return when the client has sent its queue or has given up."""
        await asyncio.to_thread(self._client.shutdown)
