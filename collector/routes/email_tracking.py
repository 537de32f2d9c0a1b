"""Openings and clicks of e-mails: a pixel, and the one address of the collector that redirects, to signed targets alone."""

from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses as answers
from domain.intake.decide_calls import Accepted
from collector.pipeline import Desk
from domain.intake.envelope import Envelope
from domain.intake.context import Facts
from collector.routes.pixel import GIF
from collector.problems import Problem
from collector.retry_buffer import Spool
from domain.intake.email_links import EmailLink, key_of, read
from schemas.hashes import short_hash

SOURCE: Final = "email"
WAIT_S: Final = 0.3
"""How long the customer waits for the broker, at most."""
CLOSE_S: Final = 5.0
_MINUTE_MS: Final = 60_000
_NAMES: Final = {"open": "Email Opened", "click": "Email Link Clicked"}


class Email:
    """Its addresses."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._key = desk, key_of(desk.settings.tenant_secret.get_secret_value().encode())
        self.spool = Spool(lambda: desk.metrics.count("onefold_email_requests_total", kind="any", result="lost"))
        desk.closing.append(lambda: self.spool.aclose(CLOSE_S))

    async def opened(self, request: Request) -> Response:
        """GET /e/o/{token}.gif."""
        return await self._answer(request, "open")

    async def clicked(self, request: Request) -> Response:
        """GET /e/c/{token}."""
        return await self._answer(request, "click")

    async def _answer(self, request: Request, kind: Literal["open", "click"]) -> Response:
        """Past the gate of other requests: whatever is wrong here, a customer with a good link gets where it leads."""
        desk, now_ms = self._desk, self._desk.clock.now_ms()
        link = read(self._key, request.path_params["token"], now_ms)
        if link is None or link.kind != kind:
            result, response = "bad_token", answers.refused(Problem.LINK, {"Cache-Control": "no-store"})
        else:
            told = request.method == "GET" and not _prefetched(request)
            if told:
                await self._tell(request, link, now_ms)
            result, response = "event" if told else "no_event", _answer_to(link)
        desk.metrics.count("onefold_email_requests_total", kind=kind, result=result)
        return response

    async def _tell(self, request: Request, link: EmailLink, now_ms: int) -> None:
        agent = request.headers.get("user-agent", "")[:1024]
        gpc = request.headers.get("sec-gpc", "").strip() == "1"
        facts = Facts(source=SOURCE, received_ms=now_ms, user_agent=agent, gpc=gpc)
        decided = self._desk.accept.decide(Envelope([call_of(link, now_ms, agent)], None, None, {}), facts)
        if isinstance(decided, Accepted):
            await self.spool.give(lambda: self._desk.send(decided, SOURCE), WAIT_S)


def _answer_to(link: EmailLink) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if link.kind == "open":
        return Response(GIF, 200, headers, media_type="image/gif")
    return Response(b"", 302, {**headers, "Location": link.url})


def call_of(link: EmailLink, now_ms: int, agent: str) -> dict[str, Any]:
    """The track call of a request. Its message id is the same within a minute: mail programs fetch more than once."""
    namespace, value = link.identifier
    properties = {"email_id": link.message_id, "campaign_id": link.campaign, "link_url": link.url}
    campaign = {"name": link.campaign, "medium": "email"} if link.campaign else {}
    return {
        "type": "track",
        "event": _NAMES[link.kind],
        "messageId": "-".join(
            (link.message_id, link.kind, *([short_hash(link.url)] if link.url else ()), str(now_ms // _MINUTE_MS))
        ),
        "identifiers": {namespace: value},
        "properties": {name: said for name, said in properties.items() if said},
        "context": {"channel": "email", **({"campaign": campaign} if campaign else {}), **({"userAgent": agent} if agent else {})},
    }


def _prefetched(request: Request) -> bool:
    """Whether a browser looks ahead: nobody has clicked yet."""
    return any("prefetch" in request.headers.get(name, "").lower() for name in ("sec-purpose", "purpose", "x-moz"))


def routes(desk: Desk) -> list[Route]:
    """The pixel and the redirect."""
    email = Email(desk)
    return [
        Route("/e/o/{token}.gif", email.opened, methods=["GET"]),
        Route("/e/c/{token}", email.clicked, methods=["GET"]),
    ]
