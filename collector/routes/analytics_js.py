"""What a website asks for before it sends: the settings of analytics.js, and analytics.js itself."""

import re
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses as answers
from collector.body import Pass
from collector.client_address import scheme
from collector.pipeline import Desk
from collector.problems import Problem, Refusal
from domain.definitions.kinds import Source

STANDALONE: Final = "standalone.js"
CACHE_S: Final = 3600
_BUNDLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}\.js")


class Site:
    """Its addresses. The files are read once: they are small, and nothing but a new version changes them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._files = _read(desk.settings.collector_analytics_js_dir)

    async def settings(self, request: Request) -> Response:
        """GET /v1/projects/{write_key}/settings."""
        key = request.path_params["write_key"]

        async def take(_: Pass, headers: dict[str, str]) -> Response:
            self._known(request, headers)
            hops = self._desk.settings.collector_trusted_hops
            protocol = scheme(request.url.scheme, request.headers.getlist("x-forwarded-proto"), hops)
            return answers.json_response(answers.site_settings(key, request.headers.get("host", ""), protocol), 200, headers)

        return await self._desk.guarded(request, "settings", take)

    async def snippet(self, request: Request) -> Response:
        """GET /analytics.js/v1/{write_key}/analytics.min.js."""

        async def take(_: Pass, headers: dict[str, str]) -> Response:
            self._known(request, headers)
            return self._script(STANDALONE, headers)

        return await self._desk.guarded(request, "snippet", take)

    async def bundle(self, request: Request) -> Response:
        """GET /analytics-next/bundles/{file}: parts that analytics.js loads when it needs them."""

        async def take(_: Pass, headers: dict[str, str]) -> Response:
            return self._script(request.path_params["file"], headers)

        return await self._desk.guarded(request, "bundle", take)

    def _known(self, request: Request, headers: dict[str, str]) -> Source:
        source = self._desk.known(request.path_params["write_key"])
        if source is None:
            raise Refusal(Problem.WRITE_KEY)
        self._desk.cors.narrow(request, source.spec.cors_origins, headers)
        return source

    def _script(self, name: str, headers: dict[str, str]) -> Response:
        if not self._files:
            raise Refusal(Problem.SNIPPET)
        if (content := self._files.get(name)) is None:
            raise Refusal(Problem.NOT_FOUND)
        found = {**headers, "Cache-Control": f"public, max-age={CACHE_S}", "X-Content-Type-Options": "nosniff"}
        return Response(content, 200, found, media_type="text/javascript")


def _read(directory: Path | None) -> dict[str, bytes]:
    if directory is None or not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and _BUNDLE.fullmatch(path.name)}


def routes(desk: Desk) -> list[Route]:
    """What browsers load."""
    site = Site(desk)
    return [
        Route("/v1/projects/{write_key}/settings", site.settings, methods=["GET", "OPTIONS"]),
        Route("/analytics.js/v1/{write_key}/analytics.min.js", site.snippet, methods=["GET", "OPTIONS"]),
        Route("/analytics-next/bundles/{file}", site.bundle, methods=["GET", "OPTIONS"]),
    ]
