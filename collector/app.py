"""The collector's HTTP side. It answers only when the broker has the events."""

import re
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from collector import responses as answers, openapi
from collector.routes import (email_tracking as email, import_files as imports, webhooks as inbound, pixel, analytics_js as site, tracking)
from collector.source_registry import Sources
from collector.pipeline import Desk
from collector.problems import Problem
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings

# Addresses by part. The first that fits answers, so `/v1/{call}` of the tracking API comes last.
PARTS: Final[tuple[Callable[[Desk], list[Route]], ...]] = (
    site.routes,
    pixel.routes,
    inbound.routes,
    email.routes,
    imports.routes,
    tracking.routes,
)

_SLASHES: Final = re.compile("//+")


def create_app(settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> Starlette:
    """The ASGI application; `state.desk` is what its addresses share."""
    desk = Desk(settings, producer, clock, sources, metrics)
    routes = [route for part in PARTS for route in part(desk)]
    routes.append(Route("/health", _health, methods=["GET"]))
    app = Starlette(routes=[*routes, openapi.route(routes)], exception_handlers={HTTPException: _failed})
    app.router.redirect_slashes = False
    app.add_middleware(Doorstep, most_header_bytes=settings.collector_max_header_bytes)
    app.state.desk = desk
    return app


class Doorstep:
    """Before all addresses: headers within their limit, and paths without the slashes that a client has put too many.

    A redirect would cure them too, but two clients take it for success and lose their data.
    """

    def __init__(self, app: ASGIApp, most_header_bytes: int) -> None:
        self._app, self._most = app, most_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
        if size > self._most:
            await answers.refused(Problem.HEADERS, {})(scope, receive, send)
            return
        path = _SLASHES.sub("/", scope["path"])
        await self._app({**scope, "path": path.rstrip("/") or "/"}, receive, send)


async def _health(request: Request) -> Response:
    """GET /health: whether events can be taken, as far as this process knows by itself."""
    desk: Desk = request.app.state.desk
    ready = desk.sources.caught_up.is_set()
    return answers.json_response({"ready": ready}, 200 if ready else 503, desk.cors.headers(request))


async def _failed(request: Request, error: Exception) -> Response:
    """Errors of routing: JSON too, and never a redirect."""
    desk: Desk = request.app.state.desk
    headers = desk.cors.headers(request)
    if isinstance(error, HTTPException) and error.status_code == 405:
        return answers.refused(Problem.METHOD, {**headers, **(error.headers or {})})
    return answers.refused(Problem.NOT_FOUND, headers)
