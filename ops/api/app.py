"""The HTTP face of the profile API. Every answer is JSON; no identifier reaches a log or an error text."""

import hmac
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ops.api.view import ProfileReader
from runtime.errors import Invalid, Transient

MAX_PATH_CHARS: Final = 4_096
_JSON: Final = msgspec.json.Encoder()


class Api:
    """`GET /v1/profiles/{namespace}:{value}` and `GET /v1/profiles/id/{profile_id}`, with `Authorization: Bearer <token>`."""

    def __init__(self, reader: ProfileReader) -> None:
        self._reader = reader
        self._token = reader.settings.api_token.get_secret_value().encode()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/profiles/id/{profile_id}", self._by_id),
                Route("/v1/profiles/{identifier:path}", self._by_identifier),
            ],
            exception_handlers={
                HTTPException: _refused,
                Invalid: _invalid,
                Transient: _away,
                Exception: _failed,
            },
        )

    async def _by_identifier(self, request: Request) -> Response:
        self._authorise(request)
        namespace, colon, value = request.path_params["identifier"].partition(":")
        if not colon:
            raise Invalid("the path ends in {namespace}:{value}", path="identifier", reason="malformed")
        return _found(await self._reader.by_identifier(namespace, value))

    async def _by_id(self, request: Request) -> Response:
        self._authorise(request)
        return _found(await self._reader.by_id(request.path_params["profile_id"]))

    def _authorise(self, request: Request) -> None:
        if len(request.url.path) > MAX_PATH_CHARS:
            raise HTTPException(414, "the address is too long")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not hmac.compare_digest(token.strip().encode(), self._token) or scheme.lower() != "bearer":
            raise HTTPException(401, "send `Authorization: Bearer` with the API token", {"WWW-Authenticate": "Bearer"})


def _found(profile: dict[str, Any] | None) -> Response:
    return answer(200, profile) if profile is not None else error(404, "unknown_profile", "no profile is known by this")


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache may keep."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(_JSON.encode(body), status, kept, media_type="application/json")


def error(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON: `{"error": {"reason", "message"}}`."""
    return answer(status, {"error": {"reason": reason, "message": message}}, headers)


async def _refused(_request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    reasons = {401: "unauthorised", 404: "unknown_path", 405: "method_not_allowed", 414: "too_long"}
    headers = dict(problem.headers or {})
    return error(problem.status_code, reasons.get(problem.status_code, "refused"), problem.detail, headers)


async def _invalid(_request: Request, problem: Exception) -> Response:
    if not isinstance(problem, Invalid):
        raise problem
    return error(400, problem.reason, str(problem))


async def _away(_request: Request, _problem: Exception) -> Response:
    return error(503, "store_away", "a store does not answer: try again", {"Retry-After": "1"})


async def _failed(_request: Request, _problem: Exception) -> Response:
    return error(500, "internal", "the API failed: see its log")
