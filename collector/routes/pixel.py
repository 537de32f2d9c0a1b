"""One event by GET, answered with an image: for pages and mails that can send nothing else."""

import base64
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.body import DecodedBody
from collector.context import CollectorParts, RequestContext
from collector.credentials import basic_auth_key, body_key, query_key
from collector.pipeline import (
    answer,
    authenticate_by,
    charge_rate,
    check_origin,
    check_rate,
    decide_calls,
    publish,
    require_source,
    serve,
)
from collector.problems import Problem
from collector.routes.tracking import parse_calls
from domain.intake.query_call import call_from_query, query_without_keys
from domain.intake.rejection import BodyProblem

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent dot."""
PIXEL_CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")


def read_query(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Read the call from the query, where other requests have a body."""
    content = query_without_keys(context.request.url.query)
    context.permit.reserve_bytes(len(content))
    call = call_from_query(context.request.query_params)
    body = BodyProblem.UNPARSABLE if call is None else DecodedBody(call, content)
    return replace(context, raw=content if call is None else b"", body=body, received_ms=parts.clock.now_ms())


PIXEL_STEPS: Final = {
    call: (
        read_query,
        authenticate_by(query_key, basic_auth_key, body_key),
        require_source,
        check_origin,
        check_rate,
        parse_calls(call),
        charge_rate,
        decide_calls,
        publish,
        answer,
    )
    for call in PIXEL_CALLS
}
"""The steps by the call that the address names."""


def as_image(response: Response) -> Response:
    """Return the same status and headers with a transparent dot as the body: browsers show it whatever the status is."""
    headers = {name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")}
    return Response(GIF, response.status_code, {**headers, "Cache-Control": "no-store"}, media_type="image/gif")


def routes(parts: CollectorParts) -> list[Route]:
    """Return RudderStack's address of the pixel and Segment's.

    `/pixel/v1/{call}?writeKey=&userId=&event=&properties.total=5`, or `/v1/pixel/{call}?data=` with base64 of the call.
    """

    async def get_pixel(request: Request) -> Response:
        call = request.path_params["call"]
        if call not in PIXEL_STEPS:
            return as_image(responses.refused_response(Problem.NOT_FOUND, parts.cors.headers(request)))
        if request.method == "HEAD":  # a client only checks whether the address exists: no event has happened
            return as_image(responses.accepted_response([], 0, parts.cors.headers(request)))
        return as_image(await serve(parts, request, "pixel", PIXEL_STEPS[call]))

    return [Route(path, get_pixel, methods=["GET"]) for path in ("/pixel/v1/{call}", "/v1/pixel/{call}")]
