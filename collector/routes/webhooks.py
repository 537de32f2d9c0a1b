"""Webhooks of other systems: signed, mapped by their Source, kept whole or not at all."""

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.body import Permit, decompress_gzip, read_body
from collector.pipeline import RequestPipeline
from collector.problems import Problem, RequestRefused
from collector.routes.tracking import TrackingEndpoints
from collector.webhook_signature import Proof, ReplayCache, verify_signature
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeOutcome
from domain.intake.envelope import Envelope
from domain.intake.parse import Rejection
from domain.intake.values import Unparsable, loads
from domain.intake.webhook_mapping import map_payload
from domain.intake.webhook_spec import HmacSignature, MappingSpec, StandardSignature, WebhookSpec
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.events import CALL_TYPES
from schemas.reasons import Reason

log: Final = get_logger(__name__)


class WebhookEndpoint:
    """Its address."""

    def __init__(self, pipeline: RequestPipeline, environ: Mapping[str, str]) -> None:
        self._pipeline, self._environ, self._replay_cache, self._tracking = (
            pipeline,
            environ,
            ReplayCache(),
            TrackingEndpoints(pipeline),
        )

    async def post_webhook(self, request: Request) -> Response:
        """POST /v1/webhook/{source}."""
        return await self._pipeline.handle(request, "webhook", lambda taken, headers: self._handle(request, taken, headers))

    async def _handle(self, request: Request, permit: Permit, headers: dict[str, str]) -> Response:
        pipeline = self._pipeline
        source = pipeline.sources.by_name(request.path_params["source"])
        if source is None or (webhook := source.spec.webhook) is None:
            raise RequestRefused(Problem.NOT_FOUND)
        pipeline.check_origin_and_rate(request, source, 0, headers)
        max_bytes, name = pipeline.settings.collector_max_body_bytes, source.metadata.name
        raw = await read_body(request, max_bytes, permit)
        received_ms = pipeline.clock.now_ms()
        proof = self._verify(webhook, name, request, raw, received_ms)
        if self._replay_cache.has(name, proof, received_ms):
            raise RequestRefused(Problem.REPLAYED)
        content = decompress_gzip(raw, max_bytes, permit)
        try:
            payload = loads(content) if content is not None else None
        except Unparsable:
            content = None
        if content is None:
            pending = self._tracking.quarantine_body(request, Problem.UNPARSABLE, raw, source, received_ms, headers)
            return await self._tracking.publish_and_respond(pending, headers)
        intake_context = pipeline.intake_context(request, source, received_ms)
        outcome = decide_delivery(
            pipeline.intake,
            webhook.mapping,
            payload,
            content,
            intake_context,
            proof.id,
            pipeline.settings.collector_max_batch_events,
        )
        pipeline.check_origin_and_rate(request, source, max(1, len(outcome.records)), headers)
        await pipeline.publish(outcome, name)
        self._replay_cache.add(name, proof, received_ms + 2 * webhook.signature.tolerance_s * 1000)
        return responses.accepted_response(outcome.rejections, sum(outcome.accepted_by_type.values()), headers)

    def _verify(self, webhook: WebhookSpec, name: str, request: Request, raw: bytes, now_ms: int) -> Proof:
        try:
            secrets = load_secrets(webhook.signature, self._environ, self._pipeline.settings)
            proof = verify_signature(webhook.signature, secrets, request.headers, raw, now_ms)
        except Misconfigured as error:
            log.error("webhook_secret", source=name, reason=str(error))  # noqa: TRY400 - the operator's to cure, no bug
            raise RequestRefused(Problem.WEBHOOK_SECRET) from error
        if isinstance(proof, Problem):
            raise RequestRefused(proof)
        return proof


def load_secrets(spec: StandardSignature | HmacSignature, environ: Mapping[str, str], settings: Settings) -> list[str]:
    """The secrets that are good now, at least one. A relative `secret_file` lies in the data directory. Raises Misconfigured."""
    if spec.secret_env is not None:
        text, location = environ.get(spec.secret_env, ""), f"{spec.secret_env} in the environment of the collector"
    else:
        path = settings.data_dir / (spec.secret_file or "")
        location = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{path} cannot be read ({type(error).__name__}): write the secret there") from error
    secrets = text.split()
    if not secrets:
        raise Misconfigured(f"{location} holds no secret: set it")
    return secrets


def decide_delivery(
    intake: CallIntake,
    mapping: MappingSpec,
    payload: Any,
    raw: bytes,
    intake_context: IntakeContext,
    delivery_id: str = "",
    max_calls: int = 2500,
) -> IntakeOutcome:
    """What becomes of a payload: its events, nothing if it is to be ignored, or one record in quarantine that holds it whole.

    `raw` are its bytes. Events without a message id of their own get one from `delivery_id`, else from `raw`: delivered again they
    are duplicates. The record's id starts with `collector-webhook-`: to replay it, decide again.
    """
    content_hash = blake2b(raw, digest_size=16, person=b"webhook").hexdigest()
    mapped_calls = map_payload(mapping, payload, max_calls)
    if isinstance(mapped_calls, Rejection):
        return _quarantine_whole(intake, raw, content_hash, mapped_calls, intake_context)
    for index, call in enumerate(mapped_calls.calls):
        if not call.get("messageId") and not _has_call_id(call):
            call["messageId"] = f"{intake_context.source}-{delivery_id or content_hash}-{index}"
    outcome = intake.decide(Envelope(mapped_calls.calls, None, None, {}), intake_context)
    if isinstance(outcome, Problem):
        return _quarantine_whole(
            intake, raw, content_hash, Rejection(Reason.TOO_LARGE, "maps to more than a batch may hold"), intake_context
        )
    if outcome.rejections:
        first_rejection = outcome.rejections[0]
        rejection = Rejection(
            Reason(first_rejection["reason"]),
            f"event {first_rejection['index']} of its mapping cannot be kept",
            first_rejection["path"],
        )
        return _quarantine_whole(intake, raw, content_hash, rejection, intake_context)
    return outcome


def _has_call_id(call: dict[str, Any]) -> bool:
    """Whether intake makes its message id of its call id."""
    properties = call.get("properties")
    return (
        call["type"] in CALL_TYPES and isinstance(properties, dict) and bool(properties.get("call_id") or properties.get("callId"))
    )


def _quarantine_whole(
    intake: CallIntake, raw: bytes, content_hash: str, rejection: Rejection, intake_context: IntakeContext
) -> IntakeOutcome:
    outcome = IntakeOutcome()
    record = intake.quarantine_record(raw, rejection, intake_context.source, intake_context.received_ms, f"webhook-{content_hash}")
    outcome.add_rejection(record, rejection, 0, None)
    return outcome


def routes(pipeline: RequestPipeline) -> list[Route]:
    """The address of webhooks."""
    return [Route("/v1/webhook/{source}", WebhookEndpoint(pipeline, os.environ).post_webhook, methods=["POST", "OPTIONS"])]
