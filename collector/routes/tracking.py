"""Segment's tracking API, and what RudderStack adds to it."""

from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import credentials, responses
from collector.body import Permit, decompress_gzip, read_body
from collector.pipeline import RequestPipeline
from collector.problems import Problem, RequestRefused
from domain.definitions.kinds import Source
from domain.intake.decide_calls import IntakeOutcome, body_without_key
from domain.intake.envelope import BATCH_PATHS, CALL_TYPE_BY_PATH, parse_envelope
from domain.intake.parse import Rejection
from domain.intake.values import Unparsable, loads
from schemas.reasons import Reason

CLIENT_METRICS_PATHS: Final = frozenset({"m", "metrics"})
_REJECTION_BY_PROBLEM: Final = {
    Problem.UNPARSABLE: Rejection(Reason.UNPARSABLE, "the body is not JSON in UTF-8"),
    Problem.NOT_AN_OBJECT: Rejection(Reason.NOT_AN_OBJECT, "the body must be an object"),
    Problem.NO_BATCH: Rejection(Reason.WRONG_TYPE, "the body must be an object with a list", "batch"),
}


class TrackingEndpoints:
    """Its addresses."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        self._pipeline = pipeline

    async def post_call(self, request: Request) -> Response:
        """POST /v1/{call}."""
        path = request.path_params["call"]
        if path in CLIENT_METRICS_PATHS:
            return await self._pipeline.handle(request, "metrics", _ignore_metrics)
        if path not in CALL_TYPE_BY_PATH and path not in BATCH_PATHS:
            return responses.refused_response(Problem.NOT_FOUND, self._pipeline.cors.headers(request))
        key = credentials.basic_auth_key(request.headers)
        return await self._pipeline.handle(request, path, lambda taken, headers: self._handle(request, path, key, taken, headers))

    async def post_beacon(self, request: Request) -> Response:
        """POST /beacon/v1/batch?writeKey=: browsers send it when a page goes away, and can set no header then."""
        key = request.query_params.get("writeKey") or credentials.basic_auth_key(request.headers)
        return await self._pipeline.handle(
            request, "beacon", lambda taken, headers: self._handle(request, "batch", key, taken, headers)
        )

    async def _handle(self, request: Request, path: str, key: str | None, permit: Permit, headers: dict[str, str]) -> Response:
        pipeline = self._pipeline
        source = pipeline.authenticate(key)
        if source is not None:
            pipeline.check_origin_and_rate(request, source, 0, headers)
        raw = await read_body(request, pipeline.settings.collector_max_body_bytes, permit)
        pending = self._decode_and_decide(request, path, raw, source, permit, headers)
        del raw  # what waits for the broker holds its records alone, and not the body as bytes and as objects too
        return await self.publish_and_respond(pending, headers)

    def _decode_and_decide(
        self, request: Request, path: str, raw: bytes, source: Source | None, permit: Permit, headers: dict[str, str]
    ) -> "PendingResponse":
        pipeline = self._pipeline
        received_ms = pipeline.clock.now_ms()
        content = decompress_gzip(raw, pipeline.settings.collector_max_body_bytes, permit)
        try:
            body = loads(content) if content is not None else None
        except Unparsable:
            content = None
        if content is None:
            source = source or pipeline.authenticate(credentials.bearer_token(request.headers))
            return self.quarantine_body(request, Problem.UNPARSABLE, raw, source, received_ms, headers)
        source = source or pipeline.authenticate(credentials.body_write_key(body) or credentials.bearer_token(request.headers))
        if source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        return self.decide_body(request, path, body, content, source, received_ms, headers)

    def decide_body(
        self, request: Request, path: str, body: Any, raw: bytes, source: Source, received_ms: int, headers: dict[str, str]
    ) -> "PendingResponse":
        """What becomes of a decoded body, whose bytes are `raw`; raises Refusal."""
        pipeline = self._pipeline
        envelope = parse_envelope(path, body)
        if isinstance(envelope, Problem):
            return self.quarantine_body(request, envelope, body_without_key(body, raw), source, received_ms, headers)
        pipeline.check_origin_and_rate(
            request, source, min(len(envelope.calls), pipeline.settings.collector_max_batch_events), headers
        )
        outcome = pipeline.intake.decide(envelope, pipeline.intake_context(request, source, received_ms))
        if isinstance(outcome, IntakeOutcome):
            return PendingResponse(source, outcome)
        if outcome not in _REJECTION_BY_PROBLEM:
            raise RequestRefused(outcome)
        return self.quarantine_body(request, outcome, body_without_key(body, raw), source, received_ms, headers)

    def quarantine_body(
        self, request: Request, problem: Problem, raw: bytes, source: Source | None, received_ms: int, headers: dict[str, str]
    ) -> "PendingResponse":
        """A body that holds no calls counts as one event in quarantine, if a source has sent it."""
        if source is None:
            raise RequestRefused(problem)
        self._pipeline.check_origin_and_rate(request, source, 1, headers)
        rejection, outcome = _REJECTION_BY_PROBLEM[problem], IntakeOutcome()
        outcome.add_rejection(
            self._pipeline.intake.quarantine_record(raw, rejection, source.metadata.name, received_ms), rejection, 0, None
        )
        return PendingResponse(source, outcome, problem)

    async def publish_and_respond(self, pending: "PendingResponse", headers: dict[str, str]) -> Response:
        """Write it, then answer; raises Refusal."""
        outcome = pending.outcome
        await self._pipeline.publish(outcome, pending.source.metadata.name)
        if pending.problem is not None:
            return responses.refused_response(pending.problem, headers, outcome.rejections)
        return responses.accepted_response(outcome.rejections, sum(outcome.accepted_by_type.values()), headers)


@dataclass(frozen=True, slots=True)
class PendingResponse:
    """A request that can be answered once `outcome` is written: as kept, or with its problem."""

    source: Source
    outcome: IntakeOutcome
    problem: Problem | None = None


async def _ignore_metrics(_: Permit, headers: dict[str, str]) -> Response:
    """What analytics.js says of itself is nothing that Onefold keeps."""
    return responses.json_response({"success": True, "results": []}, 200, headers)


def routes(pipeline: RequestPipeline) -> list[Route]:
    """Segment's addresses, and the beacon's."""
    endpoints = TrackingEndpoints(pipeline)
    return [
        Route("/v1/{call}", endpoints.post_call, methods=["POST", "OPTIONS"]),
        Route("/beacon/v1/batch", endpoints.post_beacon, methods=["POST", "OPTIONS"]),
    ]
