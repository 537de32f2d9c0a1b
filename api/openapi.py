"""The OpenAPI document of the API, made from its routes, the bodies that they read, and the answers described here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import re2
from starlette.routing import BaseRoute

from api.access import GuardedRoute
from api.identity_routes import CutRequest, SplitRequest, UndoRequest
from api.quarantine_routes import DiscardRequest, ReplayRequest
from api.questions import PairQuestion, ProfileQuestion, SegmentQuestion
from schemas.struct_schemas import struct_schemas

_REF: Final = "#/components/schemas/{name}"


class ProfileIdentifier(msgspec.Struct, frozen=True):
    """One identifier of a profile, as it is normalised."""

    namespace: str
    value: str


class ProfileSegment(msgspec.Struct, frozen=True):
    """A segment that the profile is in, and since when."""

    name: str
    since: str


class ProfileAccount(msgspec.Struct, frozen=True):
    """An account of the profile; `members` counts its profiles."""

    account_id: str
    group_id: str
    traits: dict[str, Any]
    members: int


class ProfileHousehold(msgspec.Struct, frozen=True):
    """The household of the profile by the live identity rules; `members` counts its profiles."""

    household_id: str
    traits: dict[str, Any]
    members: int


class ProfileAnswer(msgspec.Struct, frozen=True):
    """A profile as it is now. Instants are ISO 8601 in UTC; `counters` counts events by name.

    `public_traits` names the traits that no trusted source has given. `dropped_names` says about how many traits, counters and
    identifiers are in ClickHouse alone; empty when all are here.
    """

    profile_id: str
    identifiers: list[ProfileIdentifier]
    traits: dict[str, Any]
    public_traits: list[str]
    computed: dict[str, Any]
    counters: dict[str, int]
    dropped_names: dict[str, int]
    first_seen: str
    last_seen: str
    segments: list[ProfileSegment]
    members: list[str]
    accounts: list[ProfileAccount]
    household: ProfileHousehold | None


class ErrorBody(msgspec.Struct, frozen=True):
    """`reason` is a word for programs, `message` a sentence for people. Neither quotes an identifier."""

    reason: str
    message: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The answer of every refusal."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one address does. Without an `answer` the answer is an object that the pages of its subject describe."""

    summary: str
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    refusals: Sequence[int] = ()


_UNKNOWN: Final = (400, 404)
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/profiles/lookup"): Operation(
        "Read the profile that an identifier (namespace:value) or a profile id belongs to.",
        body=ProfileQuestion,
        answer=ProfileAnswer,
        refusals=_UNKNOWN,
    ),
    ("GET", "/v1/profiles/id/{profile_id}"): Operation(
        "Read a profile by its id; the id of a merged profile leads to the one that it was merged into.",
        answer=ProfileAnswer,
        refusals=_UNKNOWN,
    ),
    ("POST", "/v1/identity/why"): Operation(
        "Explain why two identifiers are one profile, or why they are not.", body=PairQuestion, refusals=_UNKNOWN
    ),
    ("POST", "/v1/identity/how"): Operation("Explain how a profile came about.", body=ProfileQuestion, refusals=_UNKNOWN),
    ("POST", "/v1/identity/cut"): Operation("Cut the evidence between two identifiers.", body=CutRequest, refusals=(400, 404, 409)),
    ("POST", "/v1/identity/split"): Operation("Split a profile in two.", body=SplitRequest, refusals=(400, 404)),
    ("POST", "/v1/identity/undo"): Operation("Undo an operation.", body=UndoRequest, refusals=(400, 404, 409)),
    ("POST", "/v1/segments/why"): Operation(
        "Explain why a profile is in a segment or not; without a segment, list the state of all.",
        body=SegmentQuestion,
        refusals=_UNKNOWN,
    ),
    ("GET", "/v1/deliveries"): Operation(
        "List the messages to destinations as they are now, the newest first.",
        query={
            "state": "waiting, delivered, failed, skipped or all (the default)",
            "destination": "only messages to this destination",
            "segment": "only messages about this segment",
            "profile_id": "only messages about this profile",
            "limit": "how many at most",
            "skip": "how many to pass over",
        },
        refusals=(400,),
    ),
    ("GET", "/v1/deliveries/{key}"): Operation("Show a message with everything that became of it.", refusals=(404,)),
    ("POST", "/v1/deliveries/{key}/resend"): Operation(
        "Send a message again, with the same id and body.", status=202, refusals=(404, 409)
    ),
    ("GET", "/v1/quarantine"): Operation(
        "List the newest records in quarantine.",
        query={
            "reason": "only records with this reason",
            "stage": "only records of this stage",
            "source": "only records of this source",
            "state": "open (the default), replayed, discarded or all",
            "limit": "the largest number of records, 50 by default",
            "skip": "how many records to leave out first",
        },
        refusals=(400,),
    ),
    ("GET", "/v1/quarantine/{id}"): Operation("Show one record whole; `raw` is base64.", refusals=(404,)),
    ("POST", "/v1/quarantine/{id}/replay"): Operation(
        "Send a record again, as it is or repaired.", body=ReplayRequest, status=202, refusals=(400, 404, 409, 429)
    ),
    ("POST", "/v1/quarantine/{id}/discard"): Operation(
        "Discard a record: it stays in quarantine, and no longer counts as open.",
        body=DiscardRequest,
        status=202,
        refusals=(400, 404),
    ),
}
"""What is said of each address; a route that is not listed makes no document."""


def document_path(path: str) -> str:
    """Return a route's path as OpenAPI writes it, without the kind of its parameters."""
    return str(re2.sub(r"\{(\w+):\w+\}", r"{\1}", path))


def build_document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Return the document of these routes. Raises KeyError for one that is not described."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, GuardedRoute):
            path = document_path(route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                described = _operation(path, OPERATIONS[method, path])
                paths.setdefault(path, {})[method.lower()] = described | {"security": [{"token": [route.token_scope]}]}
    structs = {operation.body for operation in OPERATIONS.values()} | {operation.answer for operation in OPERATIONS.values()}
    known = sorted((struct for struct in structs | {ErrorAnswer} if struct is not None), key=lambda struct: struct.__name__)
    _, schemas = struct_schemas(known, _REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Onefold's profile API",
            "version": "1",
            "description": "Profiles, identity, segments, deliveries and quarantine. Every answer is JSON and may not be cached.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a token with the scope of the operation: `onefold tokens add`, or `onefold status --env`",
                }
            },
            "schemas": schemas,
        },
    }


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re2.findall(r"\{(\w+)\}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in operation.query.items()
    ]
    answer = {"type": "object"} if operation.answer is None else {"$ref": _REF.format(name=operation.answer.__name__)}
    refused = {"application/json": {"schema": {"$ref": _REF.format(name=ErrorAnswer.__name__)}}}
    responses: dict[str, Any] = {
        str(operation.status): {"description": "done", "content": {"application/json": {"schema": answer}}}
    }
    if operation.body in (CutRequest, SplitRequest, UndoRequest):
        responses["202"] = {"description": "decided, not applied yet", "content": {"application/json": {"schema": answer}}}
    for status in sorted({401, 403, 414, 429, 503, *operation.refusals, *((413,) if operation.body is not None else ())}):
        responses[str(status)] = {"description": _REFUSALS[status], "content": refused}
    described: dict[str, Any] = {"summary": operation.summary, "parameters": parameters, "responses": responses}
    if operation.body is not None:
        body_schema = {"$ref": _REF.format(name=operation.body.__name__)}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body_schema}}}
    return described


_REFUSALS: Final = {
    400: "something in the request cannot be used", 401: "the token is missing, wrong or expired",
    403: "the token lacks the scope", 404: "there is no such thing",
    409: "the state of things forbids it", 413: "the body is too large", 414: "the address is too long",
    429: "too many requests: wait as long as Retry-After says", 503: "a store or the broker does not answer: try again",
}  # fmt: skip
