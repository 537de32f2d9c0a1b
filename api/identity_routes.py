"""The identity routes: why and how are read, cut, split and undo decided. Bodies are JSON objects."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.responses import answer
from api.request_bodies import body_of
from ops.identity.decisions import MAX_BY_CHARS, MAX_REASON_CHARS
from ops.identity.service import Desk
from ops.identity.references import MAX_TEXT_CHARS

MAX_IDENTIFIERS: Final = 1_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_IDENTIFIERS)]
By = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_BY_CHARS)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARS)]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/cut`."""

    a: Name
    b: Name
    by: By
    reason: Reason


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/split`: either `keep` or `move`."""

    profile: Name
    by: By
    reason: Reason
    keep: Names = ()
    move: Names = ()


class Undo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/undo`."""

    operation: Name
    by: By
    reason: Reason


B = TypeVar("B", Cut, Split, Undo)


class IdentityRoutes:
    """`authorise` raises for a request that may not come in."""

    def __init__(self, desk: Desk, authorise: Callable[[Request], None]) -> None:
        self._desk, self._authorise = desk, authorise

    def routes(self) -> list[Route]:
        """To be mounted before those of profiles."""
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
        return answer(200, await self._desk.why(a, b))

    async def _how(self, request: Request) -> Response:
        self._authorise(request)
        return answer(200, await self._desk.how(request.path_params["profile"]))

    async def _cut(self, request: Request) -> Response:
        body = await self._body(request, Cut)
        return await _decided(self._desk.cut(body.a, body.b, by=body.by, reason=body.reason))

    async def _split(self, request: Request) -> Response:
        body = await self._body(request, Split)
        parts = {"keep": body.keep, "move": body.move}
        return await _decided(self._desk.split(body.profile, by=body.by, reason=body.reason, **parts))

    async def _undo(self, request: Request) -> Response:
        body = await self._body(request, Undo)
        return await _decided(self._desk.undo(body.operation, by=body.by, reason=body.reason))

    async def _body(self, request: Request, kind: type[B]) -> B:
        self._authorise(request)
        return await body_of(request, kind)


async def _decided(decision: Awaitable[dict[str, Any]]) -> Response:
    """200 when the link agent has applied it, 202 when it is only in the log yet."""
    made = await decision
    return answer(200 if made["applied"] else 202, made)
