"""Webhooks of other systems: signed, mapped by their Source, and kept whole or not at all."""

from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.body import DecodedBody, decompress_gzip
from collector.client_address import client_scheme
from collector.context import CollectorParts, RequestContext
from collector.pipeline import (
    answer,
    charge_rate,
    check_origin,
    check_rate,
    intake_context_of,
    publish,
    read,
    serve,
    with_outcome,
)
from collector.problems import PROBLEM_OF_BODY, Problem, RequestRefused
from collector.responses import accepted_response
from collector.webhook_secrets import load_secrets
from collector.webhook_signature import SignedRequest, verify_signature
from domain.intake.rejection import BodyProblem
from domain.intake.values import Unparsable
from domain.intake.webhook_delivery import decide_delivery, decode_payload, reject_unreadable
from domain.intake.webhook_mapping import WebhookDelivery
from domain.intake.webhook_spec import HmacSignature, StandardSignature, WebhookSpec
from runtime.errors import Misconfigured
from runtime.logs import get_logger

log: Final = get_logger(__name__)


def find_webhook_source(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Find the source by the name in the address. The signature, and not a write key, proves who sends."""
    source = parts.sources.by_name(context.request.path_params["source"])
    if source is None and parts.sources.has_unreadable:
        raise RequestRefused(Problem.SOURCE_UNREADABLE)
    if source is None or source.spec.webhook is None:
        raise RequestRefused(Problem.NOT_FOUND)
    return replace(context, source=source)


def verify(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Verify the signature of the bytes as they were sent, and answer a delivery that was taken before.

    A sender repeats a delivery whose answer got lost. It must hear that the delivery was taken, since many switch a webhook off
    after some refusals. Nothing is published for the repetition.
    """
    webhook, name = _webhook_of(context), context.known_source.metadata.name
    try:
        secrets = load_secrets(webhook.signature, parts.settings)
        proof = verify_signature(webhook.signature, secrets, _signed_request(parts, context), context.received_ms)
    except Misconfigured as error:
        log.error("webhook_secret_unusable", source=name, reason=str(error))  # noqa: TRY400 - the operator's mistake, no bug
        raise RequestRefused(Problem.WEBHOOK_SECRET) from error
    if isinstance(proof, Problem):
        raise RequestRefused(proof)
    if parts.replay_cache.has(name, proof, context.received_ms):
        return replace(context, response=accepted_response([], 0, context.headers))
    return replace(context, proof=proof).proven()


def _signed_request(parts: CollectorParts, context: RequestContext) -> SignedRequest:
    request = context.request
    forwarded = request.headers.getlist("x-forwarded-proto")
    scheme = client_scheme(request.url.scheme, forwarded, parts.settings.collector_trusted_hops)
    path = request.scope.get("raw_path", b"").decode("latin-1") or request.url.path
    query = request.scope["query_string"].decode("latin-1")
    url = f"{scheme}://{request.headers.get('host', '')}{path}{'?' if query else ''}{query}"
    return SignedRequest(request.headers, context.raw, url, request.query_params)


def decode_webhook(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Decode the payload, which is JSON or a form. The bytes of a body that is neither stay, to be quarantined as they came."""
    content = decompress_gzip(context.raw, parts.settings.collector_max_body_bytes, context.permit)
    if content is None:
        return replace(context, body=BodyProblem.UNPARSABLE)
    try:
        payload, json_content = decode_payload(content)
    except Unparsable:
        return replace(context, body=BodyProblem.UNPARSABLE)
    return replace(context, body=DecodedBody(payload, json_content), raw=b"")


def decide(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Map the payload and decide on its events. The rate is charged afterwards, because only the mapping knows their number."""
    body, intake_context = context.body, intake_context_of(parts, context)
    if isinstance(body, BodyProblem):
        outcome = reject_unreadable(parts.intake, context.raw, intake_context)
        return replace(with_outcome(context, outcome, PROBLEM_OF_BODY[body]), event_count=1)
    request, delivery_id = context.request, "" if context.proof is None else context.proof.id
    delivery = WebhookDelivery(body.value, body.content, request.headers, request.query_params, delivery_id)
    outcome = decide_delivery(parts.intake, _webhook_of(context).mapping, delivery, intake_context)
    return replace(with_outcome(context, outcome), event_count=max(1, len(outcome.records)))


def remember_delivery(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Remember the delivery, so that it counts once although anybody who recorded it may send it again while it is fresh.

    This comes after the records are durable: a delivery that the broker refused must be taken when it is sent again.
    """
    signature = _webhook_of(context).signature
    if context.proof is not None and context.problem is None and isinstance(signature, StandardSignature | HmacSignature):
        # Twice the tolerance: a time signed that far ahead is accepted until that long after it has come.
        until_ms = context.received_ms + 2 * signature.tolerance_s * 1000
        parts.replay_cache.add(context.known_source.metadata.name, context.proof, until_ms)
    return context


def _webhook_of(context: RequestContext) -> WebhookSpec:
    webhook = context.known_source.spec.webhook
    if webhook is None:
        raise RequestRefused(Problem.NOT_FOUND)
    return webhook


WEBHOOK_STEPS: Final = (
    find_webhook_source,
    check_origin,
    check_rate,
    read,
    verify,
    decode_webhook,
    decide,
    charge_rate,
    publish,
    remember_delivery,
    answer,
)


def routes(parts: CollectorParts) -> list[Route]:
    """Return the route of webhooks."""

    async def post_webhook(request: Request) -> Response:
        return await serve(parts, request, "webhook", WEBHOOK_STEPS)

    return [Route("/v1/webhook/{source}", post_webhook, methods=["POST", "OPTIONS"])]
