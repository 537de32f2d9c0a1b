"""The form that all answers of the API have in common. No identifier reaches an error text."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtime.errors import Invalid

_JSON: Final = msgspec.json.Encoder()
_REASONS_BY_STATUS: Final = {
    401: "unauthorised", 403: "forbidden", 404: "unknown_path", 405: "method_not_allowed", 413: "too_large", 414: "too_long",
    503: "tokens_unreadable",
}  # fmt: skip
_STATUS_BY_REASON: Final[Mapping[str, int]] = {
    "unknown_identifier": 404, "unknown_operation": 404, "unknown_segment": 404, "unknown_delivery": 404,
    "nothing_to_cut": 409, "nothing_to_undo": 409,
}  # fmt: skip
"""The status of a reason; without an entry 400."""


def json_response(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer that no cache may store."""
    response_headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(_JSON.encode(body), status, response_headers, media_type="application/json")


def error_response(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON: `{"error": {"reason", "message"}}`."""
    return json_response(status, {"error": {"reason": reason, "message": message}}, headers)


async def handle_http_error(_request: Request, problem: Exception) -> Response:
    """Answer a request that HTTP itself forbids."""
    if not isinstance(problem, HTTPException):
        raise problem
    return error_response(
        problem.status_code, _REASONS_BY_STATUS.get(problem.status_code, "refused"), problem.detail, problem.headers
    )


async def handle_invalid(_request: Request, problem: Exception) -> Response:
    """Answer input that cannot be used."""
    if not isinstance(problem, Invalid):
        raise problem
    return error_response(_STATUS_BY_REASON.get(problem.reason, 400), problem.reason, str(problem))


async def handle_unavailable(_request: Request, _problem: Exception) -> Response:
    """Answer 503 when a store or the broker does not answer."""
    return error_response(503, "store_away", "a store or the broker does not answer: try again", {"Retry-After": "1"})


async def handle_internal_error(_request: Request, _problem: Exception) -> Response:
    """Answer 500 for a fault of the API itself; the log has the details."""
    return error_response(500, "internal", "the API failed: see its log")
