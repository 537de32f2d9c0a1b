"""One event by GET, answered with an image: for pages and mails that can do nothing else."""

import base64
import binascii
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses as answers, credentials as auth
from collector.body import Pass
from collector.pipeline import Desk
from domain.intake.envelope import KINDS
from collector.problems import Problem, Refusal
from collector.routes.tracking import Tracking
from domain.intake.values import Unparsable, loads

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent dot."""
_OBJECTS: Final = ("properties", "traits", "context", "identifiers", "integrations")
_CALLS: Final = frozenset({"identify", "track", "page", "screen", "group", "alias"})


class Pixel:
    """Its addresses."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._tracking = desk, Tracking(desk)

    async def event(self, request: Request) -> Response:
        """GET /pixel/v1/{call}?writeKey=&userId=&event=&properties.total=5, or /v1/pixel/{call}?data=base64 of the call."""
        call = request.path_params["call"]
        if call not in _CALLS:
            return as_image(answers.refused(Problem.NOT_FOUND, self._desk.cors.headers(request)))
        if request.method == "HEAD":  # somebody looks whether there is anything: no event has happened
            return as_image(answers.kept([], 0, self._desk.cors.headers(request)))
        return as_image(
            await self._desk.guarded(request, "pixel", lambda taken, headers: self._take(request, KINDS[call], taken, headers))
        )

    async def _take(self, request: Request, call: str, taken: Pass, headers: dict[str, str]) -> Response:
        desk, raw = self._desk, request.url.query.encode()
        taken.charge(len(raw))
        body = event_of(request.query_params)
        given = request.query_params.get("writeKey") or auth.header_key(request.headers) or auth.body_key(body)
        source = desk.known(given)
        if source is None:
            raise Refusal(Problem.WRITE_KEY)
        desk.admit(request, source, 0, headers)
        received_ms = desk.clock.now_ms()
        judged = (
            self._tracking.unusable(request, Problem.UNPARSABLE, b"", source, received_ms, headers)
            if body is None
            else self._tracking.judge(request, call, body, raw, source, received_ms, headers)
        )
        return await self._tracking.keep(judged, headers)


def event_of(query: QueryParams) -> dict[str, Any] | None:
    """The call that a query means; None when its `data` is not base64 of a JSON object.

    `properties`, `traits` and the like may be JSON; a dot leads into them: `properties.total=5`. Such values are text, as nobody
    said otherwise.
    """
    if (data := query.get("data")) is not None:
        return _decoded(data)
    call: dict[str, Any] = {}
    for name, value in query.items():
        head, dot, rest = name.partition(".")
        if name == "writeKey":
            continue
        if not dot:
            call[name] = {**_json_or_text(value), **call.get(name, {})} if _is_json(name, value) else value
        elif head in _OBJECTS and rest and isinstance(call.setdefault(head, {}), dict):
            call[head][rest] = value
    return call


def _is_json(name: str, value: str) -> bool:
    return name in _OBJECTS and bool(_json_or_text(value))


def _json_or_text(value: str) -> dict[str, Any]:
    try:
        found = loads(value.encode())
    except (Unparsable, UnicodeEncodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _decoded(data: str) -> dict[str, Any] | None:
    """Base64 as browsers and as URLs write it, with its padding or without."""
    plain = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        found = loads(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None
    return found if isinstance(found, dict) else None


def as_image(answer: Response) -> Response:
    """The same answer, status and headers, with a dot for a body: browsers show it whatever the status says."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(GIF, answer.status_code, {**headers, "Cache-Control": "no-store"}, media_type="image/gif")


def routes(desk: Desk) -> list[Route]:
    """RudderStack's address and Segment's own."""
    pixel = Pixel(desk)
    return [Route(path, pixel.event, methods=["GET"]) for path in ("/pixel/v1/{call}", "/v1/pixel/{call}")]
