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

from collector import openapi, responses
from collector.pipeline import RequestPipeline
from collector.problems import Problem
from collector.routes import analytics_js, email_tracking, import_files, pixel, tracking, webhooks
from collector.source_registry import Sources
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.metrics import Metrics
from runtime.settings import Settings

# Addresses by part. The first that fits answers, so `/v1/{call}` of the tracking API comes last.
ROUTE_FACTORIES: Final[tuple[Callable[[RequestPipeline], list[Route]], ...]] = (
    analytics_js.routes,
    pixel.routes,
    webhooks.routes,
    email_tracking.routes,
    import_files.routes,
    tracking.routes,
)

_REPEATED_SLASHES: Final = re.compile("//+")


def create_app(settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> Starlette:
    """The ASGI application; `state.desk` is what its addresses share."""
    pipeline = RequestPipeline(settings, producer, clock, sources, metrics)
    routes = [route for routes_of in ROUTE_FACTORIES for route in routes_of(pipeline)]
    routes.append(Route("/health", _health, methods=["GET"]))
    app = Starlette(routes=[*routes, openapi.document_route(routes)], exception_handlers={HTTPException: _routing_error})
    app.router.redirect_slashes = False
    app.add_middleware(HeaderLimitMiddleware, max_header_bytes=settings.collector_max_header_bytes)
    app.state.pipeline = pipeline
    return app


class HeaderLimitMiddleware:
    """Before all addresses: headers within their limit, and paths without the slashes that a client has put too many.

    A redirect would cure them too, but two clients take it for success and lose their data.
    """

    def __init__(self, app: ASGIApp, max_header_bytes: int) -> None:
        self._app, self._max_header_bytes = app, max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
        if size > self._max_header_bytes:
            await responses.refused_response(Problem.HEADERS, {})(scope, receive, send)
            return
        path = _REPEATED_SLASHES.sub("/", scope["path"])
        await self._app({**scope, "path": path.rstrip("/") or "/"}, receive, send)


async def _health(request: Request) -> Response:
    """GET /health: whether events can be taken, as far as this process knows by itself."""
    pipeline: RequestPipeline = request.app.state.pipeline
    ready = pipeline.sources.caught_up.is_set()
    return responses.json_response({"ready": ready}, 200 if ready else 503, pipeline.cors.headers(request))


async def _routing_error(request: Request, error: Exception) -> Response:
    """Errors of routing: JSON too, and never a redirect."""
    pipeline: RequestPipeline = request.app.state.pipeline
    headers = pipeline.cors.headers(request)
    if isinstance(error, HTTPException) and error.status_code == 405:
        return responses.refused_response(Problem.METHOD, {**headers, **(error.headers or {})})
    return responses.refused_response(Problem.NOT_FOUND, headers)
