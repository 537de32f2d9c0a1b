"""The identity routes: `why` and `how` explain, `cut`, `split` and `undo` decide. Bodies are JSON objects."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.request_bodies import read_body
from api.responses import json_response
from ops.identity.decisions import MAX_BY_CHARS, MAX_REASON_CHARS
from ops.identity.references import MAX_TEXT_CHARS
from ops.identity.service import IdentityService

MAX_IDENTIFIERS: Final = 1_000

ReferenceText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
ReferenceTexts = Annotated[tuple[ReferenceText, ...], msgspec.Meta(max_length=MAX_IDENTIFIERS)]
By = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_BY_CHARS)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARS)]


class CutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/cut`."""

    a: ReferenceText
    b: ReferenceText
    by: By
    reason: Reason


class SplitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/split`: either `keep` or `move`."""

    profile: ReferenceText
    by: By
    reason: Reason
    keep: ReferenceTexts = ()
    move: ReferenceTexts = ()


class UndoRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/undo`."""

    operation: ReferenceText
    by: By
    reason: Reason


B = TypeVar("B", CutRequest, SplitRequest, UndoRequest)


class IdentityRoutes:
    """Answers the identity routes; `authorise` raises for a request without the API token."""

    def __init__(self, service: IdentityService, authorise: Callable[[Request], None]) -> None:
        self._service = service
        self._authorise = authorise

    def routes(self) -> list[Route]:
        """Return the routes; they must be mounted before those of profiles, whose pattern matches everything."""
        return [
            Route("/v1/identity/why", self._why),
            Route("/v1/identity/how/{profile:path}", self._how),
            Route("/v1/identity/cut", self._cut, methods=["POST"]),
            Route("/v1/identity/split", self._split, methods=["POST"]),
            Route("/v1/identity/undo", self._undo, methods=["POST"]),
        ]

    async def _why(self, request: Request) -> Response:
        self._authorise(request)
        a, b = (request.query_params.get(name, "") for name in ("a", "b"))
        return json_response(200, await self._service.why(a, b))

    async def _how(self, request: Request) -> Response:
        self._authorise(request)
        return json_response(200, await self._service.how(request.path_params["profile"]))

    async def _cut(self, request: Request) -> Response:
        body = await self._body(request, CutRequest)
        return await _decision_response(self._service.cut(body.a, body.b, by=body.by, reason=body.reason))

    async def _split(self, request: Request) -> Response:
        body = await self._body(request, SplitRequest)
        parts = {"keep": body.keep, "move": body.move}
        return await _decision_response(self._service.split(body.profile, by=body.by, reason=body.reason, **parts))

    async def _undo(self, request: Request) -> Response:
        body = await self._body(request, UndoRequest)
        return await _decision_response(self._service.undo(body.operation, by=body.by, reason=body.reason))

    async def _body(self, request: Request, body_type: type[B]) -> B:
        self._authorise(request)
        return await read_body(request, body_type)


async def _decision_response(decision: Awaitable[dict[str, Any]]) -> Response:
    """Answer 200 when the link agent has applied the decision, and 202 when the decision is only in the log yet."""
    outcome = await decision
    return json_response(200 if outcome["applied"] else 202, outcome)
