"""Answers in the shape that every client of Segment's API understands, with the headers that browsers ask for."""

from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from collector.problems import Problem, Refusal

RESULT: Final = "X-Onefold-Result"
RESET: Final = "X-RateLimit-Reset"
_EXPOSED: Final = f"Retry-After, {RESET}, {RESULT}"
_NAMED: Final = 20
"""How many calls the header names; the body names all."""
_PATH: Final = 100


class Cors:
    """Headers for browsers on other origins; `origins` is `*` or a comma-separated list."""

    def __init__(self, origins: str) -> None:
        listed = {origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()}
        self._any, self._listed = "*" in listed, listed

    def headers(self, request: Request, more: frozenset[str] = frozenset()) -> dict[str, str]:
        """Of every answer; `more` are let in besides. Without Expose-Headers browsers hide from clients when to come again."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        found = {} if self._any else {"Vary": "Origin"}
        if self._any or origin in self._listed or origin in more:
            found["Access-Control-Allow-Origin"] = "*" if self._any else origin
            found["Access-Control-Expose-Headers"] = _EXPOSED
        return found

    def preflight(self, request: Request, more: frozenset[str]) -> Response:
        """What a browser may send: asked once per address, then held for two hours. It does not say which source it will be."""
        found = self.headers(request, more)
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
            found["Access-Control-Allow-Headers"] = "authorization, content-type, x-retry-count, anonymousid"
            found["Access-Control-Max-Age"] = "7200"
        return Response(status_code=204, headers=found)

    def narrow(self, request: Request, own: tuple[str, ...], headers: dict[str, str]) -> None:
        """Make `headers` those of a source with origins of its `own`; raises Refusal when the request comes from another one."""
        origin = request.headers.get("origin")
        if not own or origin is None:
            return
        for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers"):
            headers.pop(name, None)
        headers["Vary"] = "Origin"
        if origin not in own:
            raise Refusal(Problem.ORIGIN)
        headers.update({"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED})


def json_response(value: Any, status: int, headers: dict[str, str]) -> Response:
    """`value` as JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def result(accepted: int, results: list[dict[str, Any]]) -> str:
    """The header of a result: counts, then index, reason and path of the first calls that were not kept."""
    counted = f"accepted={accepted}; quarantined={len(results)}"
    named = [
        " ".join(quote(str(one[field]), safe=".[]") for field in ("index", "reason", "path")).strip() for one in results[:_NAMED]
    ]
    return f'{counted}; not-kept="{", ".join(named)}"' if named else counted


def kept(results: list[dict[str, Any]], accepted: int, headers: dict[str, str]) -> Response:
    """All calls are durable, as events or in quarantine. 200 and nothing else: clients take 202 and 204 for failures."""
    return json_response({"success": True, "results": results}, 200, {**headers, RESULT: result(accepted, results)})


def refused(
    problem: Problem,
    headers: dict[str, str],
    results: list[dict[str, Any]] | None = None,
    *,
    retry_after_s: int | None = None,
) -> Response:
    """Nothing was kept but, if `results` says so, the body itself in quarantine. Clients read `code` and `message`."""
    answer, named = problem.value, results or []
    found = {**headers, RESULT: f"{result(0, named)}; code={answer.code}"}
    if (wait_s := retry_after_s or answer.retry_after_s) is not None:
        found["Retry-After"] = str(wait_s)
    if answer.status == 401:
        found["WWW-Authenticate"] = 'Basic realm="onefold"'
    if answer.status == 415:
        found["Accept-Encoding"] = "gzip"
    said = {"success": False, "code": answer.code, "message": answer.message, "results": named}
    return json_response(said, answer.status, found)


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
