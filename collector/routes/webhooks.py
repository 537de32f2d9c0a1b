"""Webhooks of other systems: signed, mapped by their Source, kept whole or not at all."""

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses as answers
from domain.intake.decide_calls import Accept, Accepted
from collector.body import Pass, read, unpack
from collector.pipeline import Desk
from domain.intake.envelope import Envelope
from domain.intake.context import Facts
from domain.intake.webhook_mapping import mapped
from collector.problems import Problem, Refusal
from collector.webhook_signature import Proof, Seen, proven
from collector.routes.tracking import Tracking
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.settings import Settings
from domain.intake.call_centre import CALL_TYPES
from domain.intake.parse import Rejected
from domain.intake.values import Unparsable, loads
from schemas.reasons import Reason
from domain.intake.webhook_spec import (HmacSignature, MappingSpec, StandardSignature, WebhookSpec)

log: Final = get_logger(__name__)


class Inbound:
    """Its address."""

    def __init__(self, desk: Desk, environ: Mapping[str, str]) -> None:
        self._desk, self._environ, self._seen, self._tracking = desk, environ, Seen(), Tracking(desk)

    async def webhook(self, request: Request) -> Response:
        """POST /v1/webhook/{source}."""
        return await self._desk.guarded(request, "webhook", lambda taken, headers: self._take(request, taken, headers))

    async def _take(self, request: Request, taken: Pass, headers: dict[str, str]) -> Response:
        desk = self._desk
        source = desk.sources.named(request.path_params["source"])
        if source is None or (webhook := source.spec.webhook) is None:
            raise Refusal(Problem.NOT_FOUND)
        desk.admit(request, source, 0, headers)
        most, name = desk.settings.collector_max_body_bytes, source.metadata.name
        raw = await read(request, most, taken)
        received_ms = desk.clock.now_ms()
        proof = self._proof(webhook, name, request, raw, received_ms)
        if self._seen.has(name, proof, received_ms):
            raise Refusal(Problem.REPLAYED)
        plain = unpack(raw, most, taken)
        try:
            payload = loads(plain) if plain is not None else None
        except Unparsable:
            plain = None
        if plain is None:
            unusable = self._tracking.unusable(request, Problem.UNPARSABLE, raw, source, received_ms, headers)
            return await self._tracking.keep(unusable, headers)
        facts = desk.facts(request, source, received_ms)
        decided = decide(desk.accept, webhook.mapping, payload, plain, facts, proof.id, desk.settings.collector_max_batch_events)
        desk.admit(request, source, max(1, len(decided.records)), headers)
        await desk.send(decided, name)
        self._seen.add(name, proof, received_ms + 2 * webhook.signature.tolerance_s * 1000)
        return answers.kept(decided.results, sum(decided.types.values()), headers)

    def _proof(self, webhook: WebhookSpec, name: str, request: Request, raw: bytes, now_ms: int) -> Proof:
        try:
            secrets = secrets_of(webhook.signature, self._environ, self._desk.settings)
            proof = proven(webhook.signature, secrets, request.headers, raw, now_ms)
        except Misconfigured as error:
            log.error("webhook_secret", source=name, reason=str(error))  # noqa: TRY400 - the operator's to cure, no bug
            raise Refusal(Problem.WEBHOOK_SECRET) from error
        if isinstance(proof, Problem):
            raise Refusal(proof)
        return proof


def secrets_of(spec: StandardSignature | HmacSignature, environ: Mapping[str, str], settings: Settings) -> list[str]:
    """The secrets that are good now, at least one. A relative `secret_file` lies in the data directory. Raises Misconfigured."""
    if spec.secret_env is not None:
        text, where = environ.get(spec.secret_env, ""), f"{spec.secret_env} in the environment of the collector"
    else:
        path = settings.data_dir / (spec.secret_file or "")
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{path} cannot be read ({type(error).__name__}): write the secret there") from error
    secrets = text.split()
    if not secrets:
        raise Misconfigured(f"{where} holds no secret: set it")
    return secrets


def decide(
    accept: Accept, mapping: MappingSpec, payload: Any, raw: bytes, facts: Facts, delivery_id: str = "", most: int = 2500
) -> Accepted:
    """What becomes of a payload: its events, nothing if it is to be ignored, or one record in quarantine that holds it whole.

    `raw` are its bytes. Events without a message id of their own get one from `delivery_id`, else from `raw`: delivered again they
    are duplicates. The record's id starts with `collector-webhook-`: to replay it, decide again.
    """
    content = blake2b(raw, digest_size=16, person=b"webhook").hexdigest()
    result = mapped(mapping, payload, most)
    if isinstance(result, Rejected):
        return _whole(accept, raw, content, result, facts)
    for index, call in enumerate(result.calls):
        if not call.get("messageId") and not _names_itself(call):
            call["messageId"] = f"{facts.source}-{delivery_id or content}-{index}"
    decided = accept.decide(Envelope(result.calls, None, None, {}), facts)
    if isinstance(decided, Problem):
        return _whole(accept, raw, content, Rejected(Reason.TOO_LARGE, "maps to more than a batch may hold"), facts)
    if decided.results:
        first = decided.results[0]
        rejected = Rejected(Reason(first["reason"]), f"event {first['index']} of its mapping cannot be kept", first["path"])
        return _whole(accept, raw, content, rejected, facts)
    return decided


def _names_itself(call: dict[str, Any]) -> bool:
    """Whether intake makes its message id of its call id."""
    properties = call.get("properties")
    return (
        call["type"] in CALL_TYPES and isinstance(properties, dict) and bool(properties.get("call_id") or properties.get("callId"))
    )


def _whole(accept: Accept, raw: bytes, content: str, rejected: Rejected, facts: Facts) -> Accepted:
    decided = Accepted()
    record = accept.quarantined(raw, rejected, facts.source, facts.received_ms, f"webhook-{content}")
    decided.reject(record, rejected, 0, None)
    return decided


def routes(desk: Desk) -> list[Route]:
    """The address of webhooks."""
    return [Route("/v1/webhook/{source}", Inbound(desk, os.environ).webhook, methods=["POST", "OPTIONS"])]
