"""Build the OpenAPI document from the routes, the table of operations and the models of `openapi_models`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import re2
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.schemas import SchemaGenerator

from collector import openapi_models
from collector.problems import Problem
from collector.responses import RESET_HEADER, RESULT_HEADER, json_response
from collector.routes.tracking import CLIENT_METRICS_PATHS
from domain.intake.envelope import BATCH_PATHS, CALL_CENTRE_PATH, CALL_TYPE_BY_PATH

_REF: Final = "#/components/schemas/{model}"
_REFUSALS: Final = (400, 401, 403, 408, 413, 415, 429, 431, 503)
_MODELS: Final[dict[str, type[BaseModel]]] = {
    "track": openapi_models.TrackCall,
    "identify": openapi_models.IdentifyCall,
    "page": openapi_models.PageCall,
    "screen": openapi_models.ScreenCall,
    "group": openapi_models.GroupCall,
    "alias": openapi_models.AliasCall,
    "merge": openapi_models.MergeCall,
}
_KEY_IN_QUERY: Final = {"name": "writeKey", "in": "query", "required": False, "schema": {"type": "string"}}

_OTHER_MODELS: Final[tuple[type[BaseModel], ...]] = (
    openapi_models.CallBody,
    openapi_models.BatchBody,
    openapi_models.CallCentreBody,
    openapi_models.ImportBody,
    openapi_models.WebhookPayload,
    openapi_models.ImportAnswer,
    openapi_models.AcceptedAnswer,
    openapi_models.RefusedAnswer,
    openapi_models.HealthAnswer,
)


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """What one method of one address takes and answers. `media_type` and `answer`, its model if it is JSON, describe a 200."""

    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = openapi_models.AcceptedAnswer
    media_type: str = "application/json"
    consumes: Sequence[str] = ("application/json", "text/plain")
    refusals: Sequence[int] = _REFUSALS
    parameters: Sequence[dict[str, Any]] = ()
    security: bool = True


def _call_operation(name: str) -> ApiOperation:
    if name in CLIENT_METRICS_PATHS:
        return ApiOperation("Metrics of analytics.js itself: answered and ignored.", refusals=(431, 503), security=False)
    if name == CALL_CENTRE_PATH:
        return ApiOperation("Events of a call centre: one or several.", openapi_models.CallCentreBody)
    if name in BATCH_PATHS:
        return ApiOperation("Several calls of any kind.", openapi_models.BatchBody)
    kind = CALL_TYPE_BY_PATH[name]
    return ApiOperation(f"One {kind} call.", _MODELS.get(kind, openapi_models.CallBody))


_LINK: Final[dict[str, Any]] = {"answer": None, "media_type": "", "refusals": (404, 431), "security": False}
_READ_REFUSALS: Final = (401, 403, 431, 503)
_PIXEL: Final = ApiOperation(
    "One call by its query parameters, or in `data` as base64 of its JSON. Always answers an image: read status and headers.",
    answer=None,
    media_type="image/gif",
    parameters=(
        _KEY_IN_QUERY,
        *({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("userId", "anonymousId", "event", "data")),
    ),
)
_IMPORT: Final = ApiOperation(
    "A file of customers, or of what they did.",
    openapi_models.ImportBody,
    openapi_models.ImportAnswer,
    consumes=("text/plain",),
    parameters=tuple({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("timezone", "event")),
)
# By the route's path. A path with {call} or {kind} is listed once for each value. A test requires every route to be here.
OPERATIONS: Final[dict[str, dict[str, ApiOperation]]] = {
    "/v1/{call}": {
        name: _call_operation(name) for name in (*CALL_TYPE_BY_PATH, *sorted(BATCH_PATHS), *sorted(CLIENT_METRICS_PATHS))
    },
    "/pixel/v1/{call}": dict.fromkeys(("identify", "track", "page", "screen", "group", "alias"), _PIXEL),
    "/v1/pixel/{call}": dict.fromkeys(("identify", "track", "page", "screen", "group", "alias"), _PIXEL),
    "/beacon/v1/batch": {
        "": ApiOperation("A batch from `navigator.sendBeacon`.", openapi_models.BatchBody, parameters=(_KEY_IN_QUERY,))
    },
    "/v1/webhook/{source}": {
        "": ApiOperation(
            "A delivery of another system, signed and mapped as its source defines.",
            openapi_models.WebhookPayload,
            consumes=("application/json", "application/x-www-form-urlencoded"),
            refusals=(*_REFUSALS, 404),
            security=False,
        )
    },
    "/v1/import/{kind}": dict.fromkeys(("customers", "events"), _IMPORT),
    "/e/o/{token}.gif": {
        "": ApiOperation("An e-mail was opened.", answer=None, media_type="image/gif", refusals=(404, 431), security=False)
    },
    "/e/c/{token}": {"": ApiOperation("A link of an e-mail was clicked: 302 to its signed target.", **_LINK)},
    "/v1/projects/{write_key}/settings": {
        "": ApiOperation("What analytics.js asks for first.", answer=None, refusals=_READ_REFUSALS, security=False)
    },
    "/sourceConfig": {
        "": ApiOperation(
            "What RudderStack's SDKs ask for first.",
            answer=None,
            refusals=_READ_REFUSALS,
            parameters=(_KEY_IN_QUERY,),
            security=False,
        )
    },
    "/analytics.js/v1/{write_key}/analytics.min.js": {
        "": ApiOperation(
            "analytics.js.", answer=None, media_type="text/javascript", refusals=(*_READ_REFUSALS, 404), security=False
        )
    },
    "/analytics-next/bundles/{file}": {
        "": ApiOperation(
            "A part of analytics.js.", answer=None, media_type="text/javascript", refusals=(404, 431, 503), security=False
        )
    },
    "/health": {
        "": ApiOperation("Whether events can be taken.", answer=openapi_models.HealthAnswer, refusals=(431,), security=False)
    },
}


def build_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Return the document of these routes, as far as OPERATIONS describes them."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, _ in SchemaGenerator({}).get_endpoints(list(routes)):
        if method == "options":
            continue
        for call, operation in OPERATIONS.get(path, {}).items():
            full = path.replace("{call}", call).replace("{kind}", call or "{kind}")
            paths.setdefault(full, {})[method] = _operation_object(full, operation)
    models = (*_MODELS.values(), *_OTHER_MODELS)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Onefold's collector",
            "version": "1",
            "description": "Segment's tracking API, with answers that tell what became of each call.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas["$defs"],
            "responses": {
                _response_name(status, image=image): _refusal_response(status, image=image)
                for status in sorted({problem.value.status for problem in Problem})
                for image in (False, True)
            },
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "the write key as user name"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "the write key as token"},
            },
        },
    }


def _response_name(status: int, *, image: bool) -> str:
    return f"Refused{status}{'AsImage' if image else ''}"


def _operation_object(path: str, operation: ApiOperation) -> dict[str, Any]:
    refusals = {
        str(status): {"$ref": f"#/components/responses/{_response_name(status, image=operation is _PIXEL)}"}
        for status in sorted(operation.refusals)
    }
    operation_object: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re2.sub(r"\W+", "_", path.strip("/")),
        "responses": {"200": _success_response(operation), **refusals},
    }
    path_names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    path_parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in path_names
    ]
    if parameters := [*path_parameters, *operation.parameters]:
        operation_object["parameters"] = parameters
    if operation.security:
        # The empty alternative means that no header is needed: the key may be in the body.
        operation_object["security"] = [{"basic": []}, {"bearer": []}, {}]
    if operation.body is not None:
        ref = {"schema": {"$ref": _REF.format(model=operation.body.__name__)}}
        operation_object["requestBody"] = {"required": True, "content": dict.fromkeys(operation.consumes, ref)}
    if not operation.media_type:
        operation_object["responses"]["302"] = {
            "description": "on to the target",
            "headers": {"Location": _header_object("string")},
        }
        del operation_object["responses"]["200"]
    if path == "/health":
        operation_object["responses"]["503"] = {**_success_response(operation), "description": "not yet"}
    return operation_object


def _success_response(operation: ApiOperation) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if operation.answer is not None:
        schema = {"$ref": _REF.format(model=operation.answer.__name__)}
    elif operation.media_type == "application/json":
        schema = {"type": "object"}
    content = {operation.media_type: {"schema": schema} if schema else {}}
    headers = {RESULT_HEADER: _header_object("string")} if operation.security else {}
    return {"description": "done", "content": content, **({"headers": headers} if headers else {})}


def _refusal_response(status: int, *, image: bool) -> dict[str, Any]:
    codes = sorted(problem.value.code for problem in Problem if problem.value.status == status)
    headers = {RESULT_HEADER: _header_object("string")}
    if status in (429, 503):
        headers["Retry-After"] = _header_object("integer")
    if status == 429:
        headers[RESET_HEADER] = _header_object("integer")
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model="RefusedAnswer")}}}
    return {"description": " or ".join(codes), "headers": headers, "content": {"image/gif": {}} if image else content}


def _header_object(kind: str) -> dict[str, Any]:
    return {"required": True, "schema": {"type": kind}}


def document_route(routes: Sequence[BaseRoute]) -> Route:
    """Return the route GET /openapi.json, which answers the document of `routes`."""
    openapi_document = build_document(routes)

    async def openapi(_: Request) -> Response:
        return json_response(openapi_document, 200, {"Access-Control-Allow-Origin": "*"})

    return Route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
