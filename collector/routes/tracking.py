"""Segment's tracking API, and what RudderStack adds to it."""

from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.context import CollectorParts, RequestContext
from collector.credentials import basic_auth_key, bearer_key, body_key, query_key
from collector.pipeline import (
    RequestStep,
    answer,
    authenticate_by,
    charge_rate,
    check_origin,
    check_rate,
    decide_calls,
    decode,
    publish,
    read,
    require_trusted_source,
    serve,
)
from collector.problems import PROBLEM_OF_BODY, Problem, RequestRefused
from domain.intake.envelope import BATCH_PATHS, CALL_TYPE_BY_PATH, IMPORT_PATH, parse_envelope
from domain.intake.rejection import BodyProblem

CLIENT_METRICS_PATHS: Final = frozenset({"m", "metrics"})


def parse_calls(path: str) -> RequestStep:
    """Return a step that finds the calls of the body, which depend on the last part of the address, and counts them.

    A body without calls counts as one event: it goes into quarantine. A batch over the limit is charged for the limit.
    """

    def parse(parts: CollectorParts, context: RequestContext) -> RequestContext:
        body = context.body
        envelope = body if isinstance(body, BodyProblem) else parse_envelope(path, body.value)
        if isinstance(envelope, BodyProblem):
            return replace(context, envelope=envelope, event_count=1)
        event_count = min(len(envelope.calls), parts.intake.limits.max_batch_events)
        return replace(context, envelope=envelope, event_count=event_count)

    return parse


def require_source_of_body(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse a request that named no write key. A body that cannot be read is refused for that: the key may be in it."""
    if context.source is None:
        raise RequestRefused(PROBLEM_OF_BODY[context.body] if isinstance(context.body, BodyProblem) else Problem.WRITE_KEY)
    return context


def ignore_metrics(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Answer the metrics that analytics.js sends about itself. Onefold does not keep them."""
    return replace(context, response=responses.json_response({"success": True, "results": []}, 200, context.headers))


def call_steps(path: str, authenticate: RequestStep) -> tuple[RequestStep, ...]:
    """Return the steps of calls that come to `path`; `authenticate` looks for the key before the body is read."""
    return (
        authenticate,
        check_origin,
        check_rate,
        read,
        decode,
        authenticate_by(body_key, bearer_key),
        require_source_of_body,
        *((require_trusted_source,) if path == IMPORT_PATH else ()),
        check_origin,
        parse_calls(path),
        charge_rate,
        decide_calls,
        publish,
        answer,
    )


CALL_STEPS: Final = {path: call_steps(path, authenticate_by(basic_auth_key)) for path in (*CALL_TYPE_BY_PATH, *BATCH_PATHS)}
"""The steps by the last part of the address."""
BEACON_STEPS: Final = call_steps("batch", authenticate_by(query_key, basic_auth_key))
"""Browsers send a beacon when a page goes away. It cannot carry a header, so its address carries the key."""


def routes(parts: CollectorParts) -> list[Route]:
    """Return the routes of Segment's API and of the beacon."""

    async def post_call(request: Request) -> Response:
        path = request.path_params["call"]
        if path in CLIENT_METRICS_PATHS:
            return await serve(parts, request, "metrics", (ignore_metrics,))
        if path not in CALL_STEPS:
            return responses.refused_response(Problem.NOT_FOUND, parts.cors.headers(request))
        return await serve(parts, request, path, CALL_STEPS[path])

    async def post_beacon(request: Request) -> Response:
        return await serve(parts, request, "beacon", BEACON_STEPS)

    return [
        Route("/v1/{call}", post_call, methods=["POST", "OPTIONS"]),
        Route("/beacon/v1/batch", post_beacon, methods=["POST", "OPTIONS"]),
    ]
