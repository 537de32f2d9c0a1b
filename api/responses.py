"""What every answer of the API has in common. No identifier reaches an error text."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtime.errors import Invalid

_JSON: Final = msgspec.json.Encoder()
_REFUSED: Final = {401: "unauthorised", 404: "unknown_path", 405: "method_not_allowed", 413: "too_large", 414: "too_long"}
_INVALID: Final[Mapping[str, int]] = {
    "unknown_identifier": 404, "unknown_operation": 404, "unknown_segment": 404, "nothing_to_cut": 409, "nothing_to_undo": 409,
}  # fmt: skip
"""The status of a reason; without an entry 400."""


def answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache may keep."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(_JSON.encode(body), status, kept, media_type="application/json")


def error(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as JSON: `{"error": {"reason", "message"}}`."""
    return answer(status, {"error": {"reason": reason, "message": message}}, headers)


async def refused(_request: Request, problem: Exception) -> Response:
    """A request that HTTP itself forbids."""
    if not isinstance(problem, HTTPException):
        raise problem
    return error(problem.status_code, _REFUSED.get(problem.status_code, "refused"), problem.detail, problem.headers)


async def invalid(_request: Request, problem: Exception) -> Response:
    """Input that cannot be used."""
    if not isinstance(problem, Invalid):
        raise problem
    return error(_INVALID.get(problem.reason, 400), problem.reason, str(problem))


async def away(_request: Request, _problem: Exception) -> Response:
    """A store or the broker does not answer."""
    return error(503, "store_away", "a store or the broker does not answer: try again", {"Retry-After": "1"})


async def failed(_request: Request, _problem: Exception) -> Response:
    """A fault of the API itself."""
    return error(500, "internal", "the API failed: see its log")
