"""Webhooks of other systems: signed, mapped by their Source, and kept whole or not at all."""

from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.context import CollectorParts, RequestContext
from collector.pipeline import (
    answer,
    charge_rate,
    check_origin,
    check_rate,
    decode,
    intake_context_of,
    publish,
    quarantine_body,
    read,
    serve,
    with_outcome,
)
from collector.problems import Problem, RequestRefused
from collector.responses import accepted_response
from collector.webhook_secrets import load_secrets
from collector.webhook_signature import verify_signature
from domain.intake.rejection import BodyProblem
from domain.intake.webhook_delivery import decide_delivery
from domain.intake.webhook_spec import WebhookSpec
from runtime.errors import Misconfigured
from runtime.logs import get_logger

log: Final = get_logger(__name__)


def find_webhook_source(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Find the source by the name in the address. The signature, and not a write key, proves who sends."""
    source = parts.sources.by_name(context.request.path_params["source"])
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
        proof = verify_signature(
            webhook.signature, secrets, headers=context.request.headers, body=context.raw, now_ms=context.received_ms
        )
    except Misconfigured as error:
        log.error("webhook_secret_unusable", source=name, reason=str(error))  # noqa: TRY400 - the operator's mistake, no bug
        raise RequestRefused(Problem.WEBHOOK_SECRET) from error
    if isinstance(proof, Problem):
        raise RequestRefused(proof)
    if parts.replay_cache.has(name, proof, context.received_ms):
        return replace(context, response=accepted_response([], 0, context.headers))
    return replace(context, proof=proof)


def decide(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Map the payload and decide on its events. The rate is charged afterwards, because only the mapping knows their number."""
    if isinstance(context.body, BodyProblem):
        return replace(quarantine_body(parts, context, context.body), event_count=1)
    outcome = decide_delivery(
        parts.intake,
        _webhook_of(context).mapping,
        context.body.value,
        context.body.content,
        intake_context=intake_context_of(parts, context),
        delivery_id=context.proof.id if context.proof is not None else "",
    )
    return replace(with_outcome(context, outcome), event_count=max(1, len(outcome.records)))


def remember_delivery(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Remember the delivery, so that it counts once although anybody who recorded it may send it again while it is fresh.

    This comes after the records are durable: a delivery that the broker refused must be taken when it is sent again.
    """
    if context.proof is not None and context.problem is None:
        # Twice the tolerance: a time signed that far ahead is accepted until that long after it has come.
        until_ms = context.received_ms + 2 * _webhook_of(context).signature.tolerance_s * 1000
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
    decode,
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
