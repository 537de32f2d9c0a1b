"""Answers in the form that every client of Segment's API understands, with the headers that browsers need."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson
import re2
from starlette.requests import Request
from starlette.responses import Response

from collector.problems import PROBLEM_OF_REFUSAL, Problem, RequestRefused
from runtime.http.limits import Refusal

RESULT_HEADER: Final = "X-Onefold-Result"
RESET_HEADER: Final = "X-RateLimit-Reset"
_EXPOSED_HEADERS: Final = f"Retry-After, {RESET_HEADER}, {RESULT_HEADER}"
"""Without Access-Control-Expose-Headers a browser hides from the client when to send again."""
_ORIGIN_HEADERS: Final = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
_DEFAULT_ALLOWED_HEADERS: Final = "authorization, content-type"
_HEADER_NAME: Final = re2.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_MAX_ALLOWED_HEADERS: Final = 64
_MAX_LISTED: Final = 20
"""How many calls the header names. The body names all of them."""


class Cors:
    """Headers for browsers on other origins. `origins` is `*` or a comma-separated list."""

    def __init__(self, origins: str) -> None:
        self._allowed_origins = {origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()}
        self._allows_any = "*" in self._allowed_origins

    def headers(self, request: Request, source_origins: frozenset[str] = frozenset()) -> dict[str, str]:
        """Return the headers of an answer whose source is not known yet. `source_origins` are allowed in addition."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        cors_headers = {} if self._allows_any else {"Vary": "Origin"}
        if self._allows_any or origin in self._allowed_origins or origin in source_origins:
            cors_headers["Access-Control-Allow-Origin"] = "*" if self._allows_any else origin
            cors_headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
        return cors_headers

    def preflight(self, request: Request, source_origins: frozenset[str]) -> Response:
        """Answer what a browser may send. It asks before it names a source, and remembers the answer for two hours.

        Every header that the browser asks for is allowed: SDKs send new ones with each release, the collector ignores those that it
        does not know, and what guards a source is its key and its origins.
        """
        cors_headers = self.headers(request, source_origins)
        if "Access-Control-Allow-Origin" in cors_headers:
            cors_headers["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
            cors_headers["Access-Control-Allow-Headers"] = _allowed_headers(request)
            cors_headers["Access-Control-Max-Age"] = "7200"
        # A cache on the way must not give one SDK the answer that another one has asked for.
        varies = ", ".join(name for name in (cors_headers.get("Vary"), "Access-Control-Request-Headers") if name)
        return Response(status_code=204, headers={**cors_headers, "Vary": varies})


def _allowed_headers(request: Request) -> str:
    """Return the names of headers that the browser asks for, or the usual ones when it asks for none."""
    requested = [name.strip() for header in request.headers.getlist("access-control-request-headers") for name in header.split(",")]
    names = [name for name in requested if _HEADER_NAME.fullmatch(name)][:_MAX_ALLOWED_HEADERS]
    return ", ".join(names) or _DEFAULT_ALLOWED_HEADERS


def source_cors_headers(request: Request, source_origins: tuple[str, ...], headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return `headers` narrowed to a source that lists origins of its own; `headers` themselves for a source that lists none.

    Raises RequestRefused when a browser on an origin that is not listed sends. That answer allows no origin, so that a page cannot
    read it.
    """
    origin = request.headers.get("origin")
    if not source_origins or origin is None:
        return headers
    narrowed = {name: value for name, value in headers.items() if name not in _ORIGIN_HEADERS} | {"Vary": "Origin"}
    if origin not in source_origins:
        raise RequestRefused(Problem.ORIGIN, headers=narrowed)
    return {**narrowed, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED_HEADERS}


def json_response(value: Any, status: int, headers: Mapping[str, str]) -> Response:
    """Return `value` as JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def result_header(accepted: int, rejections: list[dict[str, Any]]) -> str:
    """Return the value of the result header: two counts, then index, reason and path of the first calls in quarantine."""
    counts = f"accepted={accepted}; quarantined={len(rejections)}"
    listed_rejections = [
        " ".join(quote(str(rejection[field]), safe=".[]") for field in ("index", "reason", "path")).strip()
        for rejection in rejections[:_MAX_LISTED]
    ]
    return f'{counts}; rejected="{", ".join(listed_rejections)}"' if listed_rejections else counts


def accepted_response(rejections: list[dict[str, Any]], accepted: int, headers: Mapping[str, str]) -> Response:
    """Answer that all calls are durable, as events or in quarantine.

    The status is 200 and nothing else: clients take 202 and 204 for failures.
    """
    return json_response(
        {"success": True, "results": rejections}, 200, {**headers, RESULT_HEADER: result_header(accepted, rejections)}
    )


def refused_response(
    problem: Problem,
    headers: Mapping[str, str],
    rejections: list[dict[str, Any]] | None = None,
    *,
    retry_after_s: int | None = None,
    message: str | None = None,
) -> Response:
    """Answer a problem, with its own message or `message`.

    Nothing was kept, unless `rejections` names the body itself, which is then in quarantine.
    """
    answer, listed_rejections = problem.value, rejections or []
    response_headers = {**headers, RESULT_HEADER: f"{result_header(0, listed_rejections)}; code={answer.code}"}
    if (wait_s := retry_after_s or answer.retry_after_s) is not None:
        response_headers["Retry-After"] = str(wait_s)
    if answer.status == 401:
        response_headers["WWW-Authenticate"] = 'Basic realm="onefold"'
    if answer.status == 415:
        response_headers["Accept-Encoding"] = "gzip"
    content = {"success": False, "code": answer.code, "message": message or answer.message, "results": listed_rejections}
    return json_response(content, answer.status, response_headers)


def render_refusal(refusal: Refusal) -> bytes:
    """Return the body of a request that the port refuses before a route sees it."""
    answer = PROBLEM_OF_REFUSAL[refusal].value
    return orjson.dumps({"success": False, "code": answer.code, "message": answer.message, "results": []})


def site_settings(write_key: str, host: str, protocol: str) -> dict[str, Any]:
    """Return the settings that analytics.js loads before it sends: send everything to this collector."""
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


def source_config(source_name: str) -> dict[str, Any]:
    """Return the configuration that RudderStack's SDKs load before they send: this source, and no destinations in the browser."""
    disabled = {"enabled": False}
    return {
        "source": {
            "id": source_name,
            "name": source_name,
            "enabled": True,
            "workspaceId": "onefold",
            "config": {"statsCollection": {"errors": disabled, "metrics": disabled}},
            "destinations": [],
            "connections": [],
            "dataplanes": {},
        },
        "consentManagementMetadata": {"providers": []},
    }
