"""The way of a request through the collector: a list of steps, each a plain function from one context to the next.

A route names its steps in their order; nothing else decides what happens to its requests. For the calls of Segment's API:

    authenticate_by(basic_auth_key)          the source of the key, if a header carries it
    check_origin, check_rate                 refuse before the body is read: that costs the collector nothing
    read, decode                             the bytes within their bounds, then the JSON value
    authenticate_by(body_key, bearer_key)    Segment allows the key in the body, so this cannot come earlier
    parse_calls, charge_rate, decide_calls   the calls of the body; their number is charged once; then each is decided
    publish, answer                          the answer promises that the broker has every record

Three rules keep the answers honest. A step that refuses raises RequestRefused, and the answer carries the headers of the last
context: those of the source, as soon as it is known. `received_ms` is taken when the whole body has arrived. The rate limit is
charged after the calls are counted and before `decide_calls`, the costly step, so that a client over its rate stays cheap.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from collector import responses
from collector.body import DecodedBody, decode_body, read_body
from collector.client_address import client_address
from collector.context import CollectorParts, RequestContext
from collector.problems import PROBLEM_OF_BODY, Problem, RequestRefused
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import STAGE, IntakeOutcome
from domain.intake.raw_json import body_without_key
from domain.intake.rejection import BODY_REJECTIONS, BodyProblem
from runtime.bus.port import Outgoing
from runtime.errors import OnefoldError
from runtime.http.connections import client_network
from runtime.logs import get_logger

MAX_USER_AGENT_CHARS: Final = 1024

RequestStep = Callable[[CollectorParts, RequestContext], RequestContext | Awaitable[RequestContext]]
"""Returns the context with what the step has found out. Raises RequestRefused to end the request with a problem."""
KeyReader = Callable[[RequestContext], str | None]
"""Returns the write key of a request from one place, None when it is not there."""

log: Final = get_logger(__name__)


async def serve(parts: CollectorParts, request: Request, endpoint: str, steps: Sequence[RequestStep]) -> Response:
    """Answer a request by its steps, within the limits of the collector. `endpoint` is its label in the metrics.

    A preflight request of a browser takes no permit and is not counted.
    """
    if request.method == "OPTIONS":
        return parts.cors.preflight(request, parts.sources.origins())
    started_s = time.monotonic()
    headers = parts.cors.headers(request)
    permit = parts.limiter.permit(client_network(peer_of(parts, request)))
    try:
        response = await _run_steps(parts, RequestContext(request, permit, headers), steps)
    finally:
        permit.release()
    parts.metrics.count("onefold_http_requests_total", path=endpoint, status=str(response.status_code))
    parts.metrics.observe("onefold_http_request_seconds", time.monotonic() - started_s, path=endpoint)
    return response


async def _run_steps(parts: CollectorParts, context: RequestContext, steps: Sequence[RequestStep]) -> Response:
    """Return the response of the step that answers; no step after it runs. A refusal, or a bug in a step, becomes one too."""
    try:
        # `context` is replaced after each step, so a refusal is answered with all that was known before it.
        for step in (require_sources, require_free_space, *steps):
            result = step(parts, context)
            context = result if isinstance(result, RequestContext) else await result
            if context.response is not None:
                return context.response
    except RequestRefused as refusal:
        headers = context.headers if refusal.headers is None else refusal.headers
        return responses.refused_response(refusal.problem, headers, retry_after_s=refusal.retry_after_s, message=refusal.message)
    except Exception as error:  # noqa: BLE001 - the client must be told to send again
        log.error("request_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
        return responses.refused_response(Problem.BUG, context.headers)
    raise RuntimeError(f"no step has answered: the last step was {steps[-1]}")


def require_sources(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse every request until the sources were read once: a right key must not be called wrong."""
    if not parts.sources.caught_up.is_set():
        raise RequestRefused(Problem.STARTING)
    return context


def require_free_space(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse every request while the disk of the stores is nearly full: what is answered with success must have a place."""
    if parts.free_space.is_short:
        raise RequestRefused(Problem.DISK)
    return context


def authenticate_by(*readers: KeyReader) -> RequestStep:
    """Return a step that finds the source by the first write key that `readers` find, asked in their order.

    The step does nothing when the source is known already, or when there is no key. It refuses a key that no source
    has, for good or, while the record of a source cannot be read, for the present.
    """

    def authenticate(parts: CollectorParts, context: RequestContext) -> RequestContext:
        if context.source is not None:
            return context
        write_key = next((key for reader in readers if (key := reader(context))), None)
        if write_key is None:
            return context
        source = parts.sources.find(write_key, parts.clock.now_ms())
        if source is None:
            # Clients drop their data after a 401, so it must be certain that the key is wrong.
            raise RequestRefused(Problem.SOURCE_UNREADABLE if parts.sources.has_unreadable else Problem.WRITE_KEY)
        return replace(context, source=source, write_key=write_key).proven()

    return authenticate


def require_source(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse a request that named no write key."""
    return replace(context, source=context.known_source)


def require_trusted_source(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse a request of a public source: it may be anybody's."""
    if context.known_source.spec.trust != "trusted":
        raise RequestRefused(Problem.UNTRUSTED_SOURCE)
    return context


def check_origin(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Narrow the headers of the answer to the origins of the source. Refuses a browser on an origin that the source omits."""
    if context.source is None:
        return context
    return replace(
        context, headers=responses.source_cors_headers(context.request, context.source.spec.cors_origins, context.headers)
    )


def check_rate(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Refuse a source whose rate is used up, before its body is read. This charges nothing."""
    return _consume_rate(parts, context, 0)


def charge_rate(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Charge the events of the request to the rate of its source. This is the only step that charges."""
    return _consume_rate(parts, context, context.event_count)


def _consume_rate(parts: CollectorParts, context: RequestContext, event_count: int) -> RequestContext:
    source = context.source
    if source is None or (limit := source.spec.rate_limit) is None:
        return context
    now_ms = parts.clock.now_ms()
    wait_ms = parts.rate_limits.consume(
        source.metadata.name,
        per_second=limit.events_per_second,
        burst=limit.burst_events,
        event_count=event_count,
        now_ms=now_ms,
    )
    if wait_ms:
        wait_s = -(-wait_ms // 1000)  # rounded up: a client that comes a moment early is refused again
        reset_s = -(-(now_ms + wait_ms) // 1000)
        headers = {**context.headers, responses.RESET_HEADER: str(reset_s)}
        raise RequestRefused(Problem.RATE, retry_after_s=wait_s, headers=headers)
    return context


async def read(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Read the body as it was sent."""
    raw = await read_body(context.request, parts.settings.collector_max_body_bytes, context.permit)
    return replace(context, raw=raw, received_ms=parts.clock.now_ms())


def decode(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Decode the body. The bytes of a body that cannot be decoded stay, so that it can be quarantined as it was sent."""
    body = decode_body(context.raw, parts.settings.collector_max_body_bytes, context.permit)
    return replace(context, body=body, raw=context.raw if isinstance(body, BodyProblem) else b"")


def decide_calls(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Decide on every call of the envelope. A body that holds no calls becomes one event in quarantine."""
    envelope = context.envelope
    outcome = envelope if isinstance(envelope, BodyProblem) else parts.intake.decide(envelope, intake_context_of(parts, context))
    if isinstance(outcome, IntakeOutcome):
        return with_outcome(context, outcome)
    if outcome not in BODY_REJECTIONS:
        raise RequestRefused(PROBLEM_OF_BODY[outcome])
    return quarantine_body(parts, context, outcome)


def quarantine_body(parts: CollectorParts, context: RequestContext, problem: BodyProblem) -> RequestContext:
    """Return the context with the body as one event in quarantine, answered with its problem. The write key is left out."""
    body = context.body
    raw = body_without_key(body.value, body.content) if isinstance(body, DecodedBody) else context.raw
    outcome = parts.intake.reject_whole(raw, BODY_REJECTIONS[problem], intake_context_of(parts, context))
    return with_outcome(context, outcome, PROBLEM_OF_BODY[problem])


def with_outcome(context: RequestContext, outcome: IntakeOutcome, problem: Problem | None = None) -> RequestContext:
    """Return the context with what is to be published, and without the body: its events are encoded in the outcome."""
    return replace(context, outcome=outcome, problem=problem, raw=b"", body=BodyProblem.UNPARSABLE, envelope=BodyProblem.UNPARSABLE)


async def publish(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Publish the outcome. When the step returns, every record is durable."""
    await publish_outcome(parts, context.outcome, context.known_source.metadata.name)
    return context


async def publish_outcome(parts: CollectorParts, outcome: IntakeOutcome, source_name: str) -> None:
    """Publish all records of an outcome, then count them. Raises RequestRefused when the broker has not taken every one.

    The broker may have taken some of them. The client sends all of them again: events with their ids are duplicates, and ids of
    quarantine records are made so that a second attempt gets the same ones.
    """
    if not outcome.records:
        return
    # One send for all records: the broker takes events and quarantine records of a request in one batch.
    topics = {name: parts.settings.topic(name) for name in ("events", "quarantine")}
    try:
        await parts.producer.send([Outgoing(topics[record.topic], record.value, record.key) for record in outcome.records])
    except OnefoldError as error:
        log.warning("publish_failed", kind=type(error).__name__, error=str(error), records=len(outcome.records))
        raise RequestRefused(Problem.BROKER) from error
    for event_type, count in outcome.accepted_by_type.items():
        parts.metrics.count("onefold_events_accepted_total", count, source=source_name, type=event_type)
    for reason, count in outcome.rejected_by_reason.items():
        parts.metrics.count("onefold_events_quarantined_total", count, stage=STAGE, reason=reason)


def answer(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Answer which calls became events and which are in quarantine, or with the problem of the whole body."""
    outcome = context.outcome
    if context.problem is not None:
        response = responses.refused_response(context.problem, context.headers, outcome.rejections)
    else:
        response = responses.accepted_response(outcome.rejections, outcome.accepted, context.headers)
    return replace(context, response=response)


def intake_context_of(parts: CollectorParts, context: RequestContext) -> IntakeContext:
    """Return what the request declares for all of its calls."""
    request, source = context.request, context.known_source
    return IntakeContext(
        source=source.metadata.name,
        received_ms=context.received_ms,
        trust=source.spec.trust,
        gpc=sends_gpc(request),
        ip=peer_of(parts, request),
        record_ip=source.spec.record_ip,
        user_agent=user_agent_of(request),
        namespaces=parts.sources.namespaces,
        write_key=context.write_key,
    )


def peer_of(parts: CollectorParts, request: Request) -> str:
    """Return the address of the client, as our own proxies say."""
    peer = request.client.host if request.client is not None else ""
    return client_address(peer, request.headers.getlist("x-forwarded-for"), parts.settings.collector_trusted_hops)


def sends_gpc(request: Request) -> bool:
    """Return whether the browser sends the Global Privacy Control signal."""
    return request.headers.get("sec-gpc", "").strip() == "1"


def user_agent_of(request: Request) -> str:
    """Return the user agent, cut off where no real one reaches."""
    return request.headers.get("user-agent", "")[:MAX_USER_AGENT_CHARS]
