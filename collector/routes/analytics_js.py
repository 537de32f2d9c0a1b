"""What a website loads before it sends: the settings of analytics.js or of RudderStack's SDK, and analytics.js itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import re2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.client_address import client_scheme
from collector.context import CollectorParts, RequestContext
from collector.credentials import basic_auth_key, path_key, query_key
from collector.pipeline import RequestStep, authenticate_by, check_origin, require_source, serve
from collector.problems import Problem, RequestRefused

STANDALONE: Final = "standalone.js"
CACHE_MAX_AGE_S: Final = 3600
_BUNDLE_NAME: Final = re2.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}\.js")


def answer_settings(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Answer the settings of analytics.js for the key in the address."""
    request = context.request
    forwarded = request.headers.getlist("x-forwarded-proto")
    protocol = client_scheme(request.url.scheme, forwarded, parts.settings.collector_trusted_hops)
    settings = responses.site_settings(request.path_params["write_key"], request.headers.get("host", ""), protocol)
    return replace(context, response=responses.json_response(settings, 200, context.headers))


def answer_source_config(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Answer the configuration that an SDK of RudderStack asks its control plane for."""
    config = responses.source_config(context.known_source.metadata.name)
    return replace(context, response=responses.json_response(config, 200, context.headers))


def answer_script(bundles: Mapping[str, bytes], name: str | None = None) -> RequestStep:
    """Return a step that answers the script `name`, or the one that the address names."""

    def respond(_: CollectorParts, context: RequestContext) -> RequestContext:
        if not bundles:
            raise RequestRefused(Problem.SNIPPET)
        content = bundles.get(name or context.request.path_params["file"])
        if content is None:
            raise RequestRefused(Problem.NOT_FOUND)
        headers = {**context.headers, "Cache-Control": f"public, max-age={CACHE_MAX_AGE_S}"}
        return replace(context, response=Response(content, 200, headers, media_type="text/javascript"))

    return respond


def _read_bundles(directory: Path | None) -> dict[str, bytes]:
    if directory is None or not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and _BUNDLE_NAME.fullmatch(path.name)}


def routes(parts: CollectorParts) -> list[Route]:
    """Return the routes of what browsers load. The scripts are read once: they are small, and only an upgrade changes them."""
    bundles = _read_bundles(parts.settings.collector_analytics_js_dir)
    identify_site = (authenticate_by(path_key), require_source, check_origin)

    async def get_settings(request: Request) -> Response:
        return await serve(parts, request, "settings", (*identify_site, answer_settings))

    async def get_source_config(request: Request) -> Response:
        steps = (authenticate_by(query_key, basic_auth_key), require_source, check_origin, answer_source_config)
        return await serve(parts, request, "source_config", steps)

    async def get_snippet(request: Request) -> Response:
        return await serve(parts, request, "snippet", (*identify_site, answer_script(bundles, STANDALONE)))

    async def get_bundle(request: Request) -> Response:
        return await serve(parts, request, "bundle", (answer_script(bundles),))

    return [
        Route("/v1/projects/{write_key}/settings", get_settings, methods=["GET", "OPTIONS"]),
        Route("/sourceConfig", get_source_config, methods=["GET", "OPTIONS"]),
        Route("/analytics.js/v1/{write_key}/analytics.min.js", get_snippet, methods=["GET", "OPTIONS"]),
        Route("/analytics-next/bundles/{file}", get_bundle, methods=["GET", "OPTIONS"]),
    ]
