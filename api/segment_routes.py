"""The segment routes: why somebody is in one segment or is not, or the state of all segments."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.responses import json_response
from ops.segments.service import SegmentService


class SegmentRoutes:
    """Answers the segment routes; `authorise` raises for a request without the API token."""

    def __init__(self, explainer: SegmentService, authorise: Callable[[Request], None]) -> None:
        self._explainer = explainer
        self._authorise = authorise

    def routes(self) -> list[Route]:
        """Return the routes; they must be mounted before those of profiles, whose pattern matches everything."""
        return [Route("/v1/segments/why", self._why)]

    async def _why(self, request: Request) -> Response:
        self._authorise(request)
        profile, segment = (request.query_params.get(name, "") for name in ("profile", "segment"))
        return json_response(200, await (self._explainer.why(profile, segment) if segment else self._explainer.overview(profile)))
