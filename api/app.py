"""The HTTP API of profiles, identity, segments and quarantine.

Every answer is JSON; no identifier reaches a log or an error text.
"""

import hmac
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.delivery_routes import DeliveryDependencies, DeliveryRoutes
from api.identity_routes import IdentityRoutes
from api.openapi import build_document
from api.quarantine_routes import QuarantineDependencies, QuarantineRoutes
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

MAX_PATH_CHARS: Final = 4_096


class Api:
    """The routes of the API, each with `Authorization: Bearer <token>` but `GET /openapi.json`, which describes them.

    `GET /v1/profiles/{namespace}:{value}` and `GET /v1/profiles/id/{profile_id}` are always there. The other routes need
    the service that answers them: `GET /v1/identity/why?a=&b=`, `GET /v1/identity/how/{profile}` and `POST
    /v1/identity/cut`, `/split`, `/undo` the `identity_service`; `GET /v1/segments/why?profile=&segment=` (without a
    segment: all of them) the `segment_explainer`; `GET /v1/quarantine`, `GET /v1/quarantine/{id}`, `POST
    /v1/quarantine/{id}/replay` and `/discard` the `quarantine`; `GET /v1/deliveries`, `GET /v1/deliveries/{key}` and `POST
    /v1/deliveries/{key}/resend` the `deliveries`.
    """

    def __init__(
        self,
        reader: ProfileReader,
        identity_service: IdentityService | None = None,
        quarantine: QuarantineDependencies | None = None,
        segment_explainer: SegmentService | None = None,
        deliveries: DeliveryDependencies | None = None,
    ) -> None:
        self._reader = reader
        self._identity_service = identity_service
        self._quarantine = quarantine
        self._segment_explainer = segment_explainer
        self._deliveries = deliveries
        self._token = reader.settings.api_token.get_secret_value().encode()

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                *(IdentityRoutes(self._identity_service, self._authorise).routes() if self._identity_service is not None else ()),
                *(SegmentRoutes(self._segment_explainer, self._authorise).routes() if self._segment_explainer is not None else ()),
                *(QuarantineRoutes(self._quarantine, self._authorise).routes() if self._quarantine is not None else ()),
                *(DeliveryRoutes(self._deliveries, self._authorise).routes() if self._deliveries is not None else ()),
                Route("/openapi.json", self._document, include_in_schema=False),
                Route("/v1/profiles/id/{profile_id}", self._by_id),
                Route("/v1/profiles/{identifier:path}", self._by_identifier),
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

    async def _by_identifier(self, request: Request) -> Response:
        self._authorise(request)
        namespace, colon, value = request.path_params["identifier"].partition(":")
        if not colon:
            raise Invalid("the path ends in {namespace}:{value}", path="identifier", reason="malformed")
        return _profile_response(await self._reader.by_identifier(namespace, value))

    async def _by_id(self, request: Request) -> Response:
        self._authorise(request)
        return _profile_response(await self._reader.by_id(request.path_params["profile_id"]))

    def _authorise(self, request: Request) -> None:
        if len(request.url.path) > MAX_PATH_CHARS or len(request.url.query) > 2 * MAX_PATH_CHARS:
            raise HTTPException(414, "the address is too long")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not hmac.compare_digest(token.strip().encode(), self._token) or scheme.lower() != "bearer":
            raise HTTPException(401, "send `Authorization: Bearer` with the API token", {"WWW-Authenticate": "Bearer"})


def _profile_response(profile: dict[str, Any] | None) -> Response:
    return (
        json_response(200, profile)
        if profile is not None
        else error_response(404, "unknown_profile", "no profile has this identifier")
    )
