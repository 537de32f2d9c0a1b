"""The HTTP API of profiles, identity, segments and quarantine.

Every answer is JSON; no identifier reaches an address, a log or an error text.
"""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import TokenGate
from api.delivery_routes import DeliveryDependencies, DeliveryRoutes
from api.identity_routes import IdentityRoutes
from api.openapi import build_document
from api.quarantine_routes import QuarantineDependencies, QuarantineRoutes
from api.questions import ProfileQuestion
from api.request_bodies import read_body
from api.responses import (
    error_response,
    handle_http_error,
    handle_internal_error,
    handle_invalid,
    handle_unavailable,
    json_response,
)
from api.segment_routes import SegmentRoutes
from ops.identity.service import IdentityService
from ops.profile_reader import ProfileReader
from ops.segments.service import SegmentService
from runtime.errors import Invalid, Misconfigured, Transient


class Api:
    """The routes of the API, each behind the `gate` but `GET /openapi.json`, which describes them.

    What names a customer by an identifier is asked by POST, because addresses are logged by proxies. `POST /v1/profiles/lookup` and
    `GET /v1/profiles/id/{profile_id}` are always there. The other routes need the service that answers them: `POST
    /v1/identity/why`, `/how`, `/cut`, `/split` and `/undo` the `identity_service`; `POST /v1/segments/why` (without a segment: all
    of them) the `segment_explainer`; `GET /v1/quarantine`, `GET /v1/quarantine/{id}`, `POST /v1/quarantine/{id}/replay` and
    `/discard` the `quarantine`; `GET /v1/deliveries`, `GET /v1/deliveries/{key}` and `POST /v1/deliveries/{key}/resend` the
    `deliveries`.
    """

    def __init__(
        self,
        reader: ProfileReader,
        gate: TokenGate,
        identity_service: IdentityService | None = None,
        quarantine: QuarantineDependencies | None = None,
        segment_explainer: SegmentService | None = None,
        deliveries: DeliveryDependencies | None = None,
    ) -> None:
        self._reader = reader
        self._gate = gate
        self._identity_service = identity_service
        self._quarantine = quarantine
        self._segment_explainer = segment_explainer
        self._deliveries = deliveries

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                *(IdentityRoutes(self._identity_service, self._gate).routes() if self._identity_service is not None else ()),
                *(SegmentRoutes(self._segment_explainer, self._gate).routes() if self._segment_explainer is not None else ()),
                *(QuarantineRoutes(self._quarantine, self._gate).routes() if self._quarantine is not None else ()),
                *(DeliveryRoutes(self._deliveries, self._gate).routes() if self._deliveries is not None else ()),
                Route("/openapi.json", self._document, include_in_schema=False),
                self._gate.route("/v1/profiles/lookup", self._lookup, "profiles:read", "POST"),
                self._gate.route("/v1/profiles/id/{profile_id}", self._by_id, "profiles:read"),
            ],
            exception_handlers={
                HTTPException: handle_http_error,
                Invalid: handle_invalid,
                Transient: handle_unavailable,
                Misconfigured: handle_unavailable,
                Exception: handle_internal_error,
            },
        )

    async def _document(self, request: Request) -> Response:
        """Answer without a token: the document says nothing of anybody."""
        return json_response(200, build_document(request.app.routes))

    async def _lookup(self, request: Request) -> Response:
        question = await read_body(request, ProfileQuestion)
        return _profile_response(await self._reader.by_reference(question.profile))

    async def _by_id(self, request: Request) -> Response:
        return _profile_response(await self._reader.by_id(request.path_params["profile_id"]))


def _profile_response(profile: dict[str, Any] | None) -> Response:
    return (
        json_response(200, profile)
        if profile is not None
        else error_response(404, "unknown_profile", "no profile has this identifier")
    )
