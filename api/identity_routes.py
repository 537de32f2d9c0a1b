"""The identity routes: `why` and `how` explain, `cut`, `split` and `undo` decide. Bodies are JSON objects."""

from collections.abc import Awaitable
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import TokenGate, caller_of
from api.questions import PairQuestion, ProfileQuestion, ReferenceText
from api.request_bodies import read_body
from api.responses import json_response
from ops.identity.decisions import MAX_REASON_CHARS
from ops.identity.service import IdentityService

MAX_IDENTIFIERS: Final = 1_000

ReferenceTexts = Annotated[tuple[ReferenceText, ...], msgspec.Meta(max_length=MAX_IDENTIFIERS)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARS)]


class CutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/cut`."""

    a: ReferenceText
    b: ReferenceText
    reason: Reason


class SplitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/split`: either `keep` or `move`."""

    profile: ReferenceText
    reason: Reason
    keep: ReferenceTexts = ()
    move: ReferenceTexts = ()


class UndoRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/undo`."""

    operation: ReferenceText
    reason: Reason


class IdentityRoutes:
    """Answers the identity routes. Decisions are signed with the name of the request's token."""

    def __init__(self, service: IdentityService, gate: TokenGate) -> None:
        self._service = service
        self._gate = gate

    def routes(self) -> list[Route]:
        """Return the routes."""
        route = self._gate.route
        return [
            route("/v1/identity/why", self._why, "profiles:read", "POST"),
            route("/v1/identity/how", self._how, "profiles:read", "POST"),
            route("/v1/identity/cut", self._cut, "identity:write", "POST"),
            route("/v1/identity/split", self._split, "identity:write", "POST"),
            route("/v1/identity/undo", self._undo, "identity:write", "POST"),
        ]

    async def _why(self, request: Request) -> Response:
        question = await read_body(request, PairQuestion)
        return json_response(200, await self._service.why(question.a, question.b))

    async def _how(self, request: Request) -> Response:
        question = await read_body(request, ProfileQuestion)
        return json_response(200, await self._service.how(question.profile))

    async def _cut(self, request: Request) -> Response:
        body = await read_body(request, CutRequest)
        return await _decision_response(self._service.cut(body.a, body.b, by=caller_of(request), reason=body.reason))

    async def _split(self, request: Request) -> Response:
        body = await read_body(request, SplitRequest)
        parts = {"keep": body.keep, "move": body.move}
        return await _decision_response(self._service.split(body.profile, by=caller_of(request), reason=body.reason, **parts))

    async def _undo(self, request: Request) -> Response:
        body = await read_body(request, UndoRequest)
        return await _decision_response(self._service.undo(body.operation, by=caller_of(request), reason=body.reason))


async def _decision_response(decision: Awaitable[dict[str, Any]]) -> Response:
    """Answer 200 when the link agent has applied the decision, and 202 when the decision is only in the log yet."""
    outcome = await decision
    return json_response(200 if outcome["applied"] else 202, outcome)
