"""Openings and clicks of e-mails: a pixel, and the only address of the collector that redirects, to signed targets alone.

These requests do not pass the pipeline. A customer who clicks a good link must reach its target, whatever is wrong here: the
sources are not known yet, the broker is away, or too many requests are in progress. Their events wait in a buffer instead.
"""

from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.context import CollectorParts
from collector.pipeline import publish_outcome, sends_gpc, user_agent_of
from collector.problems import Problem
from collector.routes.pixel import GIF
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import IntakeOutcome
from domain.intake.email_links import EmailLink, build_call, derive_key, verify
from domain.intake.envelope import single_calls

SOURCE: Final = "email"
WAIT_S: Final = 0.3
"""How long the customer waits for the broker, at most."""
CLOSE_S: Final = 5.0
"""How long the end of the process waits for events in the buffer, at most."""


async def follow_link(parts: CollectorParts, request: Request, key: bytes, kind: Literal["open", "click"]) -> Response:
    """Answer a request with a token: an image for an opening, a redirect for a click. Records the event first."""
    now_ms = parts.clock.now_ms()
    link = verify(key, request.path_params["token"], now_ms)
    if link is None or link.kind != kind:
        parts.metrics.count("onefold_email_requests_total", kind=kind, result="bad_token")
        return responses.refused_response(Problem.LINK, {"Cache-Control": "no-store"})
    is_event = request.method == "GET" and not _is_prefetch(request)
    if is_event:
        await _record_event(parts, request, link, now_ms)
    parts.metrics.count("onefold_email_requests_total", kind=kind, result="event" if is_event else "no_event")
    return _link_response(link)


async def _record_event(parts: CollectorParts, request: Request, link: EmailLink, now_ms: int) -> None:
    user_agent = user_agent_of(request)
    intake_context = IntakeContext(
        source=SOURCE,
        received_ms=now_ms,
        trust="trusted",  # the token is signed by this deployment, and names the recipient
        user_agent=user_agent,
        gpc=sends_gpc(request),
        namespaces=parts.sources.namespaces,
    )
    outcome = parts.intake.decide(single_calls([build_call(link, now_ms, user_agent)]), intake_context)
    if isinstance(outcome, IntakeOutcome):
        await parts.email_retries.submit(lambda: publish_outcome(parts, outcome, SOURCE), WAIT_S)


def _link_response(link: EmailLink) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if link.kind == "open":
        return Response(GIF, 200, headers, media_type="image/gif")
    return Response(b"", 302, {**headers, "Location": link.url})


def _is_prefetch(request: Request) -> bool:
    """Return whether a browser loads the link in advance: nobody has clicked yet."""
    return any("prefetch" in request.headers.get(name, "").lower() for name in ("sec-purpose", "purpose", "x-moz"))


async def aclose(parts: CollectorParts) -> None:
    """Wait for the events in the buffer, and count as lost what cannot be published in time. Call it before the producer closes."""
    await parts.email_retries.aclose(CLOSE_S)


def routes(parts: CollectorParts) -> list[Route]:
    """Return the routes of the pixel and of the redirect."""
    key = derive_key(parts.settings.tenant_key)

    async def get_open(request: Request) -> Response:
        return await follow_link(parts, request, key, "open")

    async def get_click(request: Request) -> Response:
        return await follow_link(parts, request, key, "click")

    return [
        Route("/e/o/{token}.gif", get_open, methods=["GET"]),
        Route("/e/c/{token}", get_click, methods=["GET"]),
    ]
