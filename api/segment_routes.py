"""The segment routes: why somebody is in a segment, or in which of all."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.responses import json_response
from ops.segments.service import SegmentService


class SegmentRoutes:
    """`authorise` raises for a request that may not come in."""

    def __init__(self, explainer: SegmentService, authorise: Callable[[Request], None]) -> None:
        self._explainer, self._authorise = explainer, authorise

    def routes(self) -> list[Route]:
        """To be mounted before those of profiles."""
        return [Route("/v1/segments/why", self._why)]

    async def _why(self, request: Request) -> Response:
        self._authorise(request)
        profile, segment = (request.query_params.get(name, "") for name in ("profile", "segment"))
        return json_response(200, await (self._explainer.why(profile, segment) if segment else self._explainer.overview(profile)))
