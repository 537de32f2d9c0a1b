"""The quarantine routes: records that could not be stored are listed, shown, sent again or discarded. Bodies are JSON objects."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import TokenGate, caller_of
from api.query_parameters import parse_count
from api.request_bodies import read_body
from api.responses import error_response, json_response
from ops.quarantine.edits import RecordEdits
from ops.quarantine.entries import QuarantineQuery, check_filters, entry_to_json, list_entries, read_entries
from ops.quarantine.replay_decider import ReplayDecider
from ops.quarantine.replay_runner import ReplayRunner, matching_ids
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.settings import Settings
from runtime.token_buckets import TokenBuckets
from warehouse.client import Warehouse

MAX_LISTED: Final = 1_000
MAX_RAW_BYTES: Final = 2_000_000
REPLAYS_PER_SECOND: Final = 500
"""How many records may be sent again in one second, and how many at the same instant."""
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/quarantine/{id}/replay`. `raw` is the repaired record; without it the stored one is sent again."""

    raw: Annotated[str, msgspec.Meta(max_length=1_000_000)] | None = None


class DiscardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/quarantine/{id}/discard`."""

    because: ShortText


@dataclass(frozen=True, slots=True)
class QuarantineDependencies:
    """The dependencies of the routes. The warehouse and the producer are connected when a request needs them."""

    settings: Settings
    clock: Clock
    warehouse: Callable[[], Awaitable[Warehouse]]
    producer: Callable[[], Awaitable[Producer]]
    make_decider: Callable[[], ReplayDecider]


class QuarantineRoutes:
    """Answers the quarantine routes. What is sent again or discarded is signed with the name of the request's token."""

    def __init__(self, dependencies: QuarantineDependencies, gate: TokenGate) -> None:
        self._dependencies = dependencies
        self._gate = gate
        self._buckets = TokenBuckets()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self._gate.route("/v1/quarantine", self._list, "quarantine:read"),
            self._gate.route("/v1/quarantine/{id:path}/replay", self._replay, "quarantine:write", "POST"),
            self._gate.route("/v1/quarantine/{id:path}/discard", self._discard, "quarantine:write", "POST"),
            self._gate.route("/v1/quarantine/{id:path}", self._show, "quarantine:read"),
        ]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        selection = QuarantineQuery(
            reason=query.get("reason", ""),
            stage=query.get("stage", ""),
            source=query.get("source", ""),
            state=query.get("state", "open"),
            limit=parse_count(query.get("limit", "50"), "limit", MAX_LISTED),
            skip=parse_count(query.get("skip", "0"), "skip", 1 << 31),
        )
        check_filters(selection)
        entries = await list_entries(await self._dependencies.warehouse(), selection)
        return json_response(200, {"records": [entry_to_json(entry) for entry in entries]})

    async def _show(self, request: Request) -> Response:
        entries = await read_entries(await self._dependencies.warehouse(), [request.path_params["id"]])
        if not entries:
            return error_response(404, "unknown_record", "no record in quarantine has this id")
        return json_response(200, {**entry_to_json(entries[0]), "raw": base64.b64encode(entries[0].raw).decode()})

    async def _replay(self, request: Request) -> Response:
        body = await read_body(request, ReplayRequest, MAX_RAW_BYTES)
        if wait_ms := self._buckets.consume("replay", REPLAYS_PER_SECOND, REPLAYS_PER_SECOND, 1, self._dependencies.clock.now_ms()):
            raise HTTPException(429, "too many records are sent again: wait", {"Retry-After": str(-(-wait_ms // 1_000))})
        warehouse, runner = await self._dependencies.warehouse(), await self._replay_runner(caller_of(request))
        ids = await matching_ids(warehouse, QuarantineQuery(ids=(request.path_params["id"],)))
        edits = RecordEdits(raw=None if body.raw is None else body.raw.encode())
        outcome = await runner.replay(warehouse, ids, self._dependencies.make_decider(), edits)
        if outcome.refused:
            return error_response(409, "still_refused", outcome.refused[0][1])
        return json_response(202, {"id": ids[0], "state": "replayed"})

    async def _discard(self, request: Request) -> Response:
        body = await read_body(request, DiscardRequest)
        warehouse, runner = await self._dependencies.warehouse(), await self._replay_runner(caller_of(request))
        ids = await matching_ids(warehouse, QuarantineQuery(ids=(request.path_params["id"],)))
        await runner.discard(warehouse, ids, body.because)
        return json_response(202, {"id": ids[0], "state": "discarded"})

    async def _replay_runner(self, by: str) -> ReplayRunner:
        dependencies = self._dependencies
        return ReplayRunner(
            dependencies.settings, await dependencies.producer(), dependencies.clock, by, rate=100_000, progress=_ignore_progress
        )


def _ignore_progress(_: int) -> None:
    """Discard the progress."""
