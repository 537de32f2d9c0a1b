"""Answers in the shape that every client of Segment's API understands, with the headers that browsers ask for."""

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from collector.problems import Problem

RESULT: Final = "X-Onefold-Result"


class Cors:
    """Headers for browsers on other origins; `origins` is `*` or a comma-separated list."""

    def __init__(self, origins: str) -> None:
        listed = {origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()}
        self._any, self._listed = "*" in listed, listed

    def headers(self, request: Request) -> dict[str, str]:
        """Of every answer. Without Expose-Headers a browser's client could not see when to come again."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        found = {} if self._any else {"Vary": "Origin"}
        if self._any or origin in self._listed:
            found["Access-Control-Allow-Origin"] = "*" if self._any else origin
            found["Access-Control-Expose-Headers"] = f"Retry-After, {RESULT}"
        return found

    def preflight(self, request: Request) -> Response:
        """What a browser may send: asked once per address, then held for two hours."""
        found = self.headers(request)
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
            found["Access-Control-Allow-Headers"] = "authorization, content-type, x-retry-count"
            found["Access-Control-Max-Age"] = "7200"
        return Response(status_code=204, headers=found)


def json_response(value: Any, status: int, headers: dict[str, str]) -> Response:
    """`value` as JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def kept(results: list[dict[str, Any]], accepted: int, headers: dict[str, str]) -> Response:
    """All calls are durable, as events or in quarantine. 200 and nothing else: clients take 202 and 204 for failures."""
    return json_response(
        {"success": True, "results": results},
        200,
        {**headers, RESULT: f"accepted={accepted}; quarantined={len(results)}"},
    )


def refused(problem: Problem, headers: dict[str, str], quarantined: int | None = None) -> Response:
    """Nothing was kept but, if `quarantined` says so, the body itself. Clients read `code` and `message`."""
    answer = problem.value
    found = dict(headers)
    if answer.retry_after_s is not None:
        found["Retry-After"] = str(answer.retry_after_s)
    if answer.status == 401:
        found["WWW-Authenticate"] = 'Basic realm="onefold"'
    if quarantined is not None:
        found[RESULT] = f"accepted=0; quarantined={quarantined}"
    return json_response({"success": False, "code": answer.code, "message": answer.message}, answer.status, found)


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
