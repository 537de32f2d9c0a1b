"""What every address of the collector works with."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from collector.accept import Accept, Accepted
from collector.body import Pass
from collector.definitions import Sources
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings

Take = Callable[[Pass, dict[str, str]], Awaitable[Response]]
"""Answers a request that has passed the gate, with these headers."""


class Desk(Protocol):
    """The collector, as its addresses see it."""

    settings: Settings
    clock: Clock
    sources: Sources
    metrics: Metrics
    accept: Accept

    async def guarded(self, request: Request, path: str, take: Take) -> Response:
        """The answer of `take` within the gate's bounds, counted as `path`; a Refusal or a bug in it becomes an answer too."""
        ...

    def source_of(self, write_key: str | None) -> str | None:
        """The source of a key, None without one; raises Refusal for a key that no source has."""
        ...

    async def send(self, decided: Accepted, source: str) -> None:
        """Write all of a request's records; raises Refusal when the broker has not taken every one."""
        ...
