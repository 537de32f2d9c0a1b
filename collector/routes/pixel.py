"""One event by GET, answered with an image: for pages and mails that can do nothing else."""

import base64
import binascii
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import credentials, responses
from collector.body import Permit
from collector.pipeline import RequestPipeline
from collector.problems import Problem, RequestRefused
from collector.routes.tracking import TrackingEndpoints
from domain.intake.envelope import CALL_TYPE_BY_PATH
from domain.intake.values import Unparsable, loads

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent dot."""
_OBJECT_FIELDS: Final = ("properties", "traits", "context", "identifiers", "integrations")
_CALL_TYPES: Final = frozenset({"identify", "track", "page", "screen", "group", "alias"})


class PixelEndpoints:
    """Its addresses."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        self._pipeline, self._tracking = pipeline, TrackingEndpoints(pipeline)

    async def get_event(self, request: Request) -> Response:
        """GET /pixel/v1/{call}?writeKey=&userId=&event=&properties.total=5, or /v1/pixel/{call}?data=base64 of the call."""
        call = request.path_params["call"]
        if call not in _CALL_TYPES:
            return as_image(responses.refused_response(Problem.NOT_FOUND, self._pipeline.cors.headers(request)))
        if request.method == "HEAD":  # somebody looks whether there is anything: no event has happened
            return as_image(responses.accepted_response([], 0, self._pipeline.cors.headers(request)))
        return as_image(
            await self._pipeline.handle(
                request, "pixel", lambda taken, headers: self._handle(request, CALL_TYPE_BY_PATH[call], taken, headers)
            )
        )

    async def _handle(self, request: Request, call: str, permit: Permit, headers: dict[str, str]) -> Response:
        pipeline, raw = self._pipeline, request.url.query.encode()
        permit.reserve_bytes(len(raw))
        body = call_from_query(request.query_params)
        write_key = (
            request.query_params.get("writeKey") or credentials.basic_auth_key(request.headers) or credentials.body_write_key(body)
        )
        source = pipeline.authenticate(write_key)
        if source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        pipeline.check_origin_and_rate(request, source, 0, headers)
        received_ms = pipeline.clock.now_ms()
        pending = (
            self._tracking.quarantine_body(request, Problem.UNPARSABLE, b"", source, received_ms, headers)
            if body is None
            else self._tracking.decide_body(request, call, body, raw, source, received_ms, headers)
        )
        return await self._tracking.publish_and_respond(pending, headers)


def call_from_query(query: QueryParams) -> dict[str, Any] | None:
    """The call that a query means; None when its `data` is not base64 of a JSON object.

    `properties`, `traits` and the like may be JSON; a dot leads into them: `properties.total=5`. Such values are text, as nobody
    said otherwise.
    """
    if (data := query.get("data")) is not None:
        return _decode_data(data)
    call: dict[str, Any] = {}
    for name, value in query.items():
        field, dot, key = name.partition(".")
        if name == "writeKey":
            continue
        if not dot:
            call[name] = {**_json_object(value), **call.get(name, {})} if _is_json_object(name, value) else value
        elif field in _OBJECT_FIELDS and key and isinstance(call.setdefault(field, {}), dict):
            call[field][key] = value
    return call


def _is_json_object(name: str, value: str) -> bool:
    return name in _OBJECT_FIELDS and bool(_json_object(value))


def _json_object(value: str) -> dict[str, Any]:
    try:
        decoded = loads(value.encode())
    except (Unparsable, UnicodeEncodeError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _decode_data(data: str) -> dict[str, Any] | None:
    """Base64 as browsers and as URLs write it, with its padding or without."""
    padded = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = loads(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None
    return decoded if isinstance(decoded, dict) else None


def as_image(answer: Response) -> Response:
    """The same answer, status and headers, with a dot for a body: browsers show it whatever the status says."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(GIF, answer.status_code, {**headers, "Cache-Control": "no-store"}, media_type="image/gif")


def routes(pipeline: RequestPipeline) -> list[Route]:
    """RudderStack's address and Segment's own."""
    endpoints = PixelEndpoints(pipeline)
    return [Route(path, endpoints.get_event, methods=["GET"]) for path in ("/pixel/v1/{call}", "/v1/pixel/{call}")]
