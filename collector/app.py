"""The HTTP application of the collector. It answers success only when the broker has the events."""

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from collector import openapi, responses
from collector.context import CollectorParts, build_parts
from collector.problems import Problem
from collector.routes import analytics_js, email_tracking, import_files, pixel, tracking, webhooks
from collector.source_registry import Sources
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings

# The first route that matches answers, so `/v1/{call}` of the tracking API comes last.
ROUTE_FACTORIES: Final[tuple[Callable[[CollectorParts], list[Route]], ...]] = (
    analytics_js.routes,
    pixel.routes,
    webhooks.routes,
    email_tracking.routes,
    import_files.routes,
    tracking.routes,
)


def create_app(settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> Starlette:
    """Return the ASGI application. Its `state.parts` are the parts that its routes share."""
    parts = build_parts(settings, producer, clock, sources, metrics)
    routes = [route for routes_of in ROUTE_FACTORIES for route in routes_of(parts)]
    routes.append(Route("/health", _health, methods=["GET"]))
    app = Starlette(routes=[*routes, openapi.document_route(routes)], exception_handlers={HTTPException: _routing_error})
    app.router.redirect_slashes = False
    app.add_middleware(HeaderLimitMiddleware, max_header_bytes=settings.collector_max_header_bytes)
    app.state.parts = parts
    return app


class HeaderLimitMiddleware:
    """Refuses headers over their limit, and removes repeated and trailing slashes from paths, before any route is chosen.

    A redirect would correct the slashes too, but two clients take it for success and lose their data.
    """

    def __init__(self, app: ASGIApp, max_header_bytes: int) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
        if size > self._max_header_bytes:
            await responses.refused_response(Problem.HEADERS, {})(scope, receive, send)
            return
        path = "/" + "/".join(filter(None, scope["path"].split("/")))
        await self._app({**scope, "path": path}, receive, send)


async def _health(request: Request) -> Response:
    """GET /health: answer whether this process can take events, as far as it knows without asking the broker."""
    parts: CollectorParts = request.app.state.parts
    ready = parts.sources.caught_up.is_set() and not parts.free_space.is_short
    return responses.json_response({"ready": ready}, 200 if ready else 503, parts.cors.headers(request))


async def _routing_error(request: Request, error: Exception) -> Response:
    """Answer errors of routing as JSON too, and never with a redirect."""
    parts: CollectorParts = request.app.state.parts
    headers = parts.cors.headers(request)
    if isinstance(error, HTTPException) and error.status_code == 405:
        return responses.refused_response(Problem.METHOD, {**headers, **(error.headers or {})})
    return responses.refused_response(Problem.NOT_FOUND, headers)
