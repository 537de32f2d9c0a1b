"""Openings and clicks of e-mails: a pixel, and the one address of the collector that redirects, to signed targets alone."""

from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.pipeline import RequestPipeline
from collector.problems import Problem
from collector.retry_buffer import RetryBuffer
from collector.routes.pixel import GIF
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import IntakeOutcome
from domain.intake.email_links import EmailLink, derive_key, verify
from domain.intake.envelope import Envelope
from schemas.hashes import short_hash

SOURCE: Final = "email"
WAIT_S: Final = 0.3
"""How long the customer waits for the broker, at most."""
CLOSE_S: Final = 5.0
_MINUTE_MS: Final = 60_000
_EVENT_NAMES: Final = {"open": "Email Opened", "click": "Email Link Clicked"}


class EmailEndpoints:
    """Its addresses."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        self._pipeline, self._key = pipeline, derive_key(pipeline.settings.tenant_secret.get_secret_value().encode())
        self.retry_buffer = RetryBuffer(lambda: pipeline.metrics.count("onefold_email_requests_total", kind="any", result="lost"))
        pipeline.close_hooks.append(lambda: self.retry_buffer.aclose(CLOSE_S))

    async def get_open(self, request: Request) -> Response:
        """GET /e/o/{token}.gif."""
        return await self._respond(request, "open")

    async def get_click(self, request: Request) -> Response:
        """GET /e/c/{token}."""
        return await self._respond(request, "click")

    async def _respond(self, request: Request, kind: Literal["open", "click"]) -> Response:
        """Past the gate of other requests: whatever is wrong here, a customer with a good link gets where it leads."""
        pipeline, now_ms = self._pipeline, self._pipeline.clock.now_ms()
        link = verify(self._key, request.path_params["token"], now_ms)
        if link is None or link.kind != kind:
            result, response = "bad_token", responses.refused_response(Problem.LINK, {"Cache-Control": "no-store"})
        else:
            is_event = request.method == "GET" and not _is_prefetch(request)
            if is_event:
                await self._record_event(request, link, now_ms)
            result, response = "event" if is_event else "no_event", _link_response(link)
        pipeline.metrics.count("onefold_email_requests_total", kind=kind, result=result)
        return response

    async def _record_event(self, request: Request, link: EmailLink, now_ms: int) -> None:
        agent = request.headers.get("user-agent", "")[:1024]
        gpc = request.headers.get("sec-gpc", "").strip() == "1"
        intake_context = IntakeContext(source=SOURCE, received_ms=now_ms, user_agent=agent, gpc=gpc)
        outcome = self._pipeline.intake.decide(Envelope([build_call(link, now_ms, agent)], None, None, {}), intake_context)
        if isinstance(outcome, IntakeOutcome):
            await self.retry_buffer.submit(lambda: self._pipeline.publish(outcome, SOURCE), WAIT_S)


def _link_response(link: EmailLink) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if link.kind == "open":
        return Response(GIF, 200, headers, media_type="image/gif")
    return Response(b"", 302, {**headers, "Location": link.url})


def build_call(link: EmailLink, now_ms: int, user_agent: str) -> dict[str, Any]:
    """The track call of a request. Its message id is the same within a minute: mail programs fetch more than once."""
    namespace, value = link.identifier
    properties = {"email_id": link.message_id, "campaign_id": link.campaign, "link_url": link.url}
    campaign = {"name": link.campaign, "medium": "email"} if link.campaign else {}
    return {
        "type": "track",
        "event": _EVENT_NAMES[link.kind],
        "messageId": "-".join(
            (link.message_id, link.kind, *([short_hash(link.url)] if link.url else ()), str(now_ms // _MINUTE_MS))
        ),
        "identifiers": {namespace: value},
        "properties": {name: text for name, text in properties.items() if text},
        "context": {
            "channel": "email",
            **({"campaign": campaign} if campaign else {}),
            **({"userAgent": user_agent} if user_agent else {}),
        },
    }


def _is_prefetch(request: Request) -> bool:
    """Whether a browser looks ahead: nobody has clicked yet."""
    return any("prefetch" in request.headers.get(name, "").lower() for name in ("sec-purpose", "purpose", "x-moz"))


def routes(pipeline: RequestPipeline) -> list[Route]:
    """The pixel and the redirect."""
    endpoints = EmailEndpoints(pipeline)
    return [
        Route("/e/o/{token}.gif", endpoints.get_open, methods=["GET"]),
        Route("/e/c/{token}", endpoints.get_click, methods=["GET"]),
    ]
