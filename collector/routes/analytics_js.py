"""What a website asks for before it sends: the settings of analytics.js, and analytics.js itself."""

import re
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.body import Permit
from collector.client_address import client_scheme
from collector.pipeline import RequestPipeline
from collector.problems import Problem, RequestRefused
from domain.definitions.kinds import Source

STANDALONE: Final = "standalone.js"
CACHE_MAX_AGE_S: Final = 3600
_BUNDLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}\.js")


class SiteEndpoints:
    """Its addresses. The files are read once: they are small, and nothing but a new version changes them."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        self._pipeline = pipeline
        self._bundles = _read_bundles(pipeline.settings.collector_analytics_js_dir)

    async def get_settings(self, request: Request) -> Response:
        """GET /v1/projects/{write_key}/settings."""
        key = request.path_params["write_key"]

        async def respond(_: Permit, headers: dict[str, str]) -> Response:
            self._require_source(request, headers)
            trusted_hops = self._pipeline.settings.collector_trusted_hops
            protocol = client_scheme(request.url.scheme, request.headers.getlist("x-forwarded-proto"), trusted_hops)
            return responses.json_response(responses.site_settings(key, request.headers.get("host", ""), protocol), 200, headers)

        return await self._pipeline.handle(request, "settings", respond)

    async def get_snippet(self, request: Request) -> Response:
        """GET /analytics.js/v1/{write_key}/analytics.min.js."""

        async def respond(_: Permit, headers: dict[str, str]) -> Response:
            self._require_source(request, headers)
            return self._script_response(STANDALONE, headers)

        return await self._pipeline.handle(request, "snippet", respond)

    async def get_bundle(self, request: Request) -> Response:
        """GET /analytics-next/bundles/{file}: parts that analytics.js loads when it needs them."""

        async def respond(_: Permit, headers: dict[str, str]) -> Response:
            return self._script_response(request.path_params["file"], headers)

        return await self._pipeline.handle(request, "bundle", respond)

    def _require_source(self, request: Request, headers: dict[str, str]) -> Source:
        source = self._pipeline.authenticate(request.path_params["write_key"])
        if source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        self._pipeline.cors.restrict_to_source(request, source.spec.cors_origins, headers)
        return source

    def _script_response(self, name: str, headers: dict[str, str]) -> Response:
        if not self._bundles:
            raise RequestRefused(Problem.SNIPPET)
        if (content := self._bundles.get(name)) is None:
            raise RequestRefused(Problem.NOT_FOUND)
        response_headers = {**headers, "Cache-Control": f"public, max-age={CACHE_MAX_AGE_S}", "X-Content-Type-Options": "nosniff"}
        return Response(content, 200, response_headers, media_type="text/javascript")


def _read_bundles(directory: Path | None) -> dict[str, bytes]:
    if directory is None or not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and _BUNDLE_NAME.fullmatch(path.name)}


def routes(pipeline: RequestPipeline) -> list[Route]:
    """What browsers load."""
    endpoints = SiteEndpoints(pipeline)
    return [
        Route("/v1/projects/{write_key}/settings", endpoints.get_settings, methods=["GET", "OPTIONS"]),
        Route("/analytics.js/v1/{write_key}/analytics.min.js", endpoints.get_snippet, methods=["GET", "OPTIONS"]),
        Route("/analytics-next/bundles/{file}", endpoints.get_bundle, methods=["GET", "OPTIONS"]),
    ]
