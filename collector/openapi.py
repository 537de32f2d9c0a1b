"""The OpenAPI document: made from the routes, the table of operations and the models of `wire`. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.schemas import SchemaGenerator

from collector import openapi_models as wire
from collector.responses import RESET, RESULT, json_response
from domain.intake.envelope import BATCHES, CALLS, KINDS
from collector.problems import Problem
from collector.routes.tracking import METRICS

_REF: Final = "#/components/schemas/{model}"
_REFUSALS: Final = (400, 401, 403, 408, 413, 415, 429, 431, 503)
_MODELS: Final[dict[str, type[BaseModel]]] = {
    "track": wire.Track, "identify": wire.Identify, "page": wire.Page, "screen": wire.Screen, "group": wire.Group,
    "alias": wire.Alias, "merge": wire.Merge,
}  # fmt: skip
_KEY_IN_QUERY: Final = {"name": "writeKey", "in": "query", "required": False, "schema": {"type": "string"}}

_FURTHER: Final[tuple[type[BaseModel], ...]] = (
    wire.Call, wire.Batch, wire.Calls, wire.Rows, wire.Payload, wire.Imported, wire.Kept, wire.Refused, wire.Health,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one address takes and answers. `media` is the type of a 200; `answer` its model, if it is JSON."""

    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = wire.Kept
    media: str = "application/json"
    takes: Sequence[str] = ("application/json", "text/plain")
    refusals: Sequence[int] = _REFUSALS
    parameters: Sequence[dict[str, Any]] = ()
    security: bool = True


def _call(name: str) -> Operation:
    if name in METRICS:
        return Operation("What analytics.js says of itself: answered and ignored.", refusals=(431, 503), security=False)
    if name == CALLS:
        return Operation("What a call centre says: one event or several.", wire.Calls)
    if name in BATCHES:
        return Operation("Several calls of any kind.", wire.Batch)
    kind = KINDS[name]
    return Operation(f"One {kind} call.", _MODELS.get(kind, wire.Call))


_LINK: Final[dict[str, Any]] = {"answer": None, "media": "", "refusals": (404, 431), "security": False}
_READ: Final = (401, 403, 431, 503)
_PIXEL: Final = Operation(
    "One call by its query parameters, or in `data` as base64 of its JSON. Always an image; status and headers say how it went.",
    answer=None,
    media="image/gif",
    parameters=(
        _KEY_IN_QUERY,
        *({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("userId", "anonymousId", "event", "data")),
    ),
)
_IMPORT: Final = Operation(
    "A file of customers, or of what they did.",
    wire.Rows,
    wire.Imported,
    takes=("text/plain",),
    parameters=tuple({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("timezone", "event")),
)
# By the route's path; one with {call} or {kind} is written out for each. A test wants every route here.
OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/{call}": {name: _call(name) for name in (*KINDS, *sorted(BATCHES), *sorted(METRICS))},
    "/pixel/v1/{call}": dict.fromkeys(("identify", "track", "page", "screen", "group", "alias"), _PIXEL),
    "/v1/pixel/{call}": dict.fromkeys(("identify", "track", "page", "screen", "group", "alias"), _PIXEL),
    "/beacon/v1/batch": {"": Operation("A batch from `navigator.sendBeacon`.", wire.Batch, parameters=(_KEY_IN_QUERY,))},
    "/v1/webhook/{source}": {
        "": Operation(
            "A delivery of another system, signed and mapped as its source says.",
            wire.Payload,
            refusals=(*_REFUSALS, 404, 409),
            security=False,
        )
    },
    "/v1/import/{kind}": dict.fromkeys(("customers", "events"), _IMPORT),
    "/e/o/{token}.gif": {
        "": Operation("An e-mail was opened.", answer=None, media="image/gif", refusals=(404, 431), security=False)
    },
    "/e/c/{token}": {"": Operation("A link of an e-mail was clicked: 302 to its signed target.", **_LINK)},
    "/v1/projects/{write_key}/settings": {
        "": Operation("What analytics.js asks for first.", answer=None, refusals=_READ, security=False)
    },
    "/analytics.js/v1/{write_key}/analytics.min.js": {
        "": Operation("analytics.js.", answer=None, media="text/javascript", refusals=(*_READ, 404), security=False)
    },
    "/analytics-next/bundles/{file}": {
        "": Operation("A part of analytics.js.", answer=None, media="text/javascript", refusals=(404, 431, 503), security=False)
    },
    "/health": {"": Operation("Whether events can be taken.", answer=wire.Health, refusals=(431,), security=False)},
}


def document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of these routes, as far as OPERATIONS describes them."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, _ in SchemaGenerator({}).get_endpoints(list(routes)):
        if method == "options":
            continue
        for call, operation in OPERATIONS.get(path, {}).items():
            full = path.replace("{call}", call).replace("{kind}", call or "{kind}")
            paths.setdefault(full, {})[method] = _described(full, operation)
    models = (*_MODELS.values(), *_FURTHER)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Onefold's collector",
            "version": "1",
            "description": "Segment's tracking API, with answers that say more.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas["$defs"],
            "responses": {
                _named(status, image=image): _refusal(status, image=image)
                for status in sorted({problem.value.status for problem in Problem})
                for image in (False, True)
            },
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "the write key as user name"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "the write key as token"},
            },
        },
    }


def _named(status: int, *, image: bool) -> str:
    return f"Refused{status}{'AsImage' if image else ''}"


def _described(path: str, operation: Operation) -> dict[str, Any]:
    refusals = {
        str(status): {"$ref": f"#/components/responses/{_named(status, image=operation is _PIXEL)}"}
        for status in sorted(operation.refusals)
    }
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", path.strip("/")),
        "responses": {"200": _answer(operation), **refusals},
    }
    named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    inside = [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in named]
    if parameters := [*inside, *operation.parameters]:
        found["parameters"] = parameters
    if operation.security:
        # An empty one: the key may also stand in the body.
        found["security"] = [{"basic": []}, {"bearer": []}, {}]
    if operation.body is not None:
        ref = {"schema": {"$ref": _REF.format(model=operation.body.__name__)}}
        found["requestBody"] = {"required": True, "content": dict.fromkeys(operation.takes, ref)}
    if not operation.media:
        found["responses"]["302"] = {"description": "on to the target", "headers": {"Location": _header("string")}}
        del found["responses"]["200"]
    if path == "/health":
        found["responses"]["503"] = {**_answer(operation), "description": "not yet"}
    return found


def _answer(operation: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if operation.answer is not None:
        schema = {"$ref": _REF.format(model=operation.answer.__name__)}
    elif operation.media == "application/json":
        schema = {"type": "object"}
    content = {operation.media: {"schema": schema} if schema else {}}
    headers = {RESULT: _header("string")} if operation.security else {}
    return {"description": "done", "content": content, **({"headers": headers} if headers else {})}


def _refusal(status: int, *, image: bool) -> dict[str, Any]:
    codes = sorted(problem.value.code for problem in Problem if problem.value.status == status)
    headers = {RESULT: _header("string")}
    if status in (429, 503):
        headers["Retry-After"] = _header("integer")
    if status == 429:
        headers[RESET] = _header("integer")
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model="Refused")}}}
    return {"description": " or ".join(codes), "headers": headers, "content": {"image/gif": {}} if image else content}


def _header(kind: str) -> dict[str, Any]:
    return {"required": True, "schema": {"type": kind}}


def route(routes: Sequence[BaseRoute]) -> Route:
    """GET /openapi.json, of `routes`."""
    made = document(routes)

    async def openapi(_: Request) -> Response:
        return json_response(made, 200, {"Access-Control-Allow-Origin": "*"})

    return Route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
