"""Quarantine over HTTP: what was not kept, sent again or given up. Bodies are JSON objects."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.token_buckets import Buckets
from api.responses import answer, error
from api.request_bodies import body_of
from ops.quarantine.replay_decider import Again
from ops.quarantine.edits import Edits
from ops.quarantine.entries import STATES, Wanted, listed, shown, whole
from ops.quarantine.replay_runner import Settler, meant
from warehouse.client import Warehouse
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import Invalid
from runtime.settings import Settings

MOST_LISTED: Final = 1_000
MAX_RAW_BYTES: Final = 2_000_000
A_SECOND: Final = 500
"""Records that may be sent again in a second, and at once."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Replayed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/quarantine/{id}/replay`: `raw` is the mended record, the stored one goes without."""

    by: Text
    raw: Annotated[str, msgspec.Meta(max_length=1_000_000)] | None = None


class Discarded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/quarantine/{id}/discard`."""

    by: Text
    because: Text


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What the routes work with; the warehouse and the producer are reached for when they are needed."""

    settings: Settings
    clock: Clock
    warehouse: Callable[[], Awaitable[Warehouse]]
    producer: Callable[[], Awaitable[Producer]]
    again: Callable[[], Again]


class QuarantineRoutes:
    """`authorise` raises for a request that may not come in."""

    def __init__(self, held: Quarantine, authorise: Callable[[Request], None]) -> None:
        self._held, self._authorise, self._buckets = held, authorise, Buckets()

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/quarantine", self._list),
            Route("/v1/quarantine/{id:path}/replay", self._replay, methods=["POST"]),
            Route("/v1/quarantine/{id:path}/discard", self._discard, methods=["POST"]),
            Route("/v1/quarantine/{id:path}", self._show),
        ]

    async def _list(self, request: Request) -> Response:
        self._authorise(request)
        ask = request.query_params
        state = ask.get("state", "open")
        if state not in (*STATES, "all"):
            raise Invalid(f"state is one of {', '.join(STATES)}, all", path="state", reason="malformed")
        wanted = Wanted(
            reason=ask.get("reason", ""),
            stage=ask.get("stage", ""),
            source=ask.get("source", ""),
            state=state,
            limit=_number(ask.get("limit", "50"), "limit", MOST_LISTED),
            skip=_number(ask.get("skip", "0"), "skip", 1 << 31),
        )
        found = await listed(await self._held.warehouse(), wanted)
        return answer(200, {"records": [shown(entry) for entry in found]})

    async def _show(self, request: Request) -> Response:
        self._authorise(request)
        found = await whole(await self._held.warehouse(), [request.path_params["id"]])
        if not found:
            return error(404, "unknown_record", "no record in quarantine has this id")
        return answer(200, {**shown(found[0]), "raw": base64.b64encode(found[0].raw).decode()})

    async def _replay(self, request: Request) -> Response:
        self._authorise(request)
        said = await body_of(request, Replayed, MAX_RAW_BYTES)
        if wait_ms := self._buckets.take("replay", A_SECOND, A_SECOND, 1, self._held.clock.now_ms()):
            raise HTTPException(429, "too many are sent again: wait", {"Retry-After": str(-(-wait_ms // 1_000))})
        warehouse, settler = await self._held.warehouse(), await self._settler(said.by)
        ids = await meant(warehouse, Wanted(ids=(request.path_params["id"],)))
        edits = Edits(raw=None if said.raw is None else said.raw.encode())
        done = await settler.replay(warehouse, ids, self._held.again(), edits)
        if done.refused:
            return error(409, "still_refused", done.refused[0][1])
        return answer(202, {"id": ids[0], "state": "replayed"})

    async def _discard(self, request: Request) -> Response:
        self._authorise(request)
        said = await body_of(request, Discarded)
        warehouse, settler = await self._held.warehouse(), await self._settler(said.by)
        ids = await meant(warehouse, Wanted(ids=(request.path_params["id"],)))
        await settler.discard(warehouse, ids, said.because)
        return answer(202, {"id": ids[0], "state": "discarded"})

    async def _settler(self, by: str) -> Settler:
        held = self._held
        return Settler(held.settings, await held.producer(), held.clock, by, rate=100_000, progress=_quiet)


def _quiet(_: int) -> None:
    """Nobody watches."""


def _number(text: str, path: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > most:
        raise Invalid(f"{path} is a whole number up to {most}", path=path, reason="malformed")
    return int(text)
