"""Answers in the shape that every client of Segment's API understands, with the headers that browsers ask for."""

from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from collector.problems import Problem, RequestRefused

RESULT_HEADER: Final = "X-Onefold-Result"
RESET_HEADER: Final = "X-RateLimit-Reset"
_EXPOSED_HEADERS: Final = f"Retry-After, {RESET_HEADER}, {RESULT_HEADER}"
_MAX_LISTED: Final = 20
"""How many calls the header names; the body names all."""
_PATH: Final = 100


class Cors:
    """Headers for browsers on other origins; `origins` is `*` or a comma-separated list."""

    def __init__(self, origins: str) -> None:
        allowed_origins = {origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()}
        self._allows_any, self._allowed_origins = "*" in allowed_origins, allowed_origins

    def headers(self, request: Request, source_origins: frozenset[str] = frozenset()) -> dict[str, str]:
        """Of every answer; `source_origins` are let in besides. Without Expose-Headers browsers hide from clients when to come
        again."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        cors_headers = {} if self._allows_any else {"Vary": "Origin"}
        if self._allows_any or origin in self._allowed_origins or origin in source_origins:
            cors_headers["Access-Control-Allow-Origin"] = "*" if self._allows_any else origin
            cors_headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
        return cors_headers

    def preflight(self, request: Request, source_origins: frozenset[str]) -> Response:
        """What a browser may send: asked once per address, then held for two hours. It does not say which source it will be."""
        cors_headers = self.headers(request, source_origins)
        if "Access-Control-Allow-Origin" in cors_headers:
            cors_headers["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
            cors_headers["Access-Control-Allow-Headers"] = "authorization, content-type, x-retry-count, anonymousid"
            cors_headers["Access-Control-Max-Age"] = "7200"
        return Response(status_code=204, headers=cors_headers)

    def restrict_to_source(self, request: Request, source_origins: tuple[str, ...], headers: dict[str, str]) -> None:
        """Make `headers` those of a source with origins of its `source_origins`; raises Refusal when the request comes from
        another one."""
        origin = request.headers.get("origin")
        if not source_origins or origin is None:
            return
        for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers"):
            headers.pop(name, None)
        headers["Vary"] = "Origin"
        if origin not in source_origins:
            raise RequestRefused(Problem.ORIGIN)
        headers.update({"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED_HEADERS})


def json_response(value: Any, status: int, headers: dict[str, str]) -> Response:
    """`value` as JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def result_header(accepted: int, rejections: list[dict[str, Any]]) -> str:
    """The header of a result: counts, then index, reason and path of the first calls that were not kept."""
    counts = f"accepted={accepted}; quarantined={len(rejections)}"
    listed_rejections = [
        " ".join(quote(str(rejection[field]), safe=".[]") for field in ("index", "reason", "path")).strip()
        for rejection in rejections[:_MAX_LISTED]
    ]
    return f'{counts}; not-kept="{", ".join(listed_rejections)}"' if listed_rejections else counts


def accepted_response(rejections: list[dict[str, Any]], accepted: int, headers: dict[str, str]) -> Response:
    """All calls are durable, as events or in quarantine. 200 and nothing else: clients take 202 and 204 for failures."""
    return json_response(
        {"success": True, "results": rejections}, 200, {**headers, RESULT_HEADER: result_header(accepted, rejections)}
    )


def refused_response(
    problem: Problem,
    headers: dict[str, str],
    rejections: list[dict[str, Any]] | None = None,
    *,
    retry_after_s: int | None = None,
) -> Response:
    """Nothing was kept but, if `rejections` says so, the body itself in quarantine. Clients read `code` and `message`."""
    problem_answer, listed_rejections = problem.value, rejections or []
    response_headers = {**headers, RESULT_HEADER: f"{result_header(0, listed_rejections)}; code={problem_answer.code}"}
    if (wait_s := retry_after_s or problem_answer.retry_after_s) is not None:
        response_headers["Retry-After"] = str(wait_s)
    if problem_answer.status == 401:
        response_headers["WWW-Authenticate"] = 'Basic realm="onefold"'
    if problem_answer.status == 415:
        response_headers["Accept-Encoding"] = "gzip"
    content = {"success": False, "code": problem_answer.code, "message": problem_answer.message, "results": listed_rejections}
    return json_response(content, problem_answer.status, response_headers)


def site_settings(write_key: str, host: str, protocol: str) -> dict[str, Any]:
    """What analytics.js asks for before it sends: send everything here."""
    integration = {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "protocol": protocol,
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
    }
    return {
        "integrations": {"Segment.io": integration},
        "plan": {"track": {"__default": {"enabled": True}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
