"""The segment routes: why somebody is in one segment or is not, or the state of all segments."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import TokenGate
from api.questions import SegmentQuestion
from api.request_bodies import read_body
from api.responses import json_response
from ops.segments.service import SegmentService


class SegmentRoutes:
    """Answers the segment routes."""

    def __init__(self, explainer: SegmentService, gate: TokenGate) -> None:
        self._explainer = explainer
        self._gate = gate

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [self._gate.route("/v1/segments/why", self._why, "profiles:read", "POST")]

    async def _why(self, request: Request) -> Response:
        question = await read_body(request, SegmentQuestion)
        profile, segment = question.profile, question.segment
        return json_response(200, await (self._explainer.why(profile, segment) if segment else self._explainer.overview(profile)))
