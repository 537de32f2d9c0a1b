"""The collector's HTTP side: Segment's tracking API. It answers only when the broker has the events."""

import time
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import answers, auth
from collector.accept import STAGE, Accept, Accepted, without_key
from collector.body import Gate, Pass, read, unpack
from collector.definitions import Sources
from collector.desk import Take
from collector.envelope import BATCHES, KINDS, envelope
from collector.problems import Problem, Refusal
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import OnefoldError
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.intake import Rejected
from schemas.intake_values import Unparsable, loads
from schemas.reasons import Reason

MAX_REQUESTS: Final = 1024
BODIES_AT_ONCE: Final = 16
"""How many bodies of the largest size may be held at once; many more of the usual size."""
_QUARANTINED: Final = {
    Problem.UNPARSABLE: Rejected(Reason.UNPARSABLE, "the body is not JSON in UTF-8"),
    Problem.NOT_AN_OBJECT: Rejected(Reason.NOT_AN_OBJECT, "the body must be an object"),
    Problem.NO_BATCH: Rejected(Reason.WRONG_TYPE, "the body must be an object with a list", "batch"),
}

log: Final = get_logger(__name__)


class Collector:
    """The endpoints."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> None:
        self.settings, self._producer, self.clock, self.sources, self.metrics = settings, producer, clock, sources, metrics
        self.accept, self._cors = Accept(settings), answers.Cors(settings.collector_cors_origins)
        self.gate = Gate(MAX_REQUESTS, BODIES_AT_ONCE * settings.collector_max_body_bytes)

    async def events(self, request: Request) -> Response:
        """POST /v1/{call}."""
        path = request.path_params["call"]
        if path not in KINDS and path not in BATCHES:
            return answers.refused(Problem.NOT_FOUND, self._cors.headers(request))
        return await self.guarded(request, path, lambda taken, headers: self._take(request, path, taken, headers))

    async def guarded(self, request: Request, path: str, take: Take) -> Response:
        """The answer of `take` within the gate's bounds, counted as `path`; a Refusal or a bug in it becomes an answer too."""
        started, headers = time.monotonic(), self._cors.headers(request)
        if request.method == "OPTIONS":
            return self._cors.preflight(request)
        try:
            taken = self.gate.enter()
            try:
                response = await take(taken, headers)
            finally:
                taken.leave()
        except Refusal as refusal:
            response = answers.refused(refusal.problem, headers)
        except Exception as error:  # noqa: BLE001 - the client must hear that it shall send again
            log.error("request_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
            response = answers.refused(Problem.BUG, headers)
        self.metrics.count("onefold_http_requests_total", path=path, status=str(response.status_code))
        self.metrics.observe("onefold_http_request_seconds", time.monotonic() - started, path=path)
        return response

    async def _take(self, request: Request, path: str, taken: Pass, headers: dict[str, str]) -> Response:
        if not self.sources.caught_up.is_set():
            raise Refusal(Problem.STARTING)
        source = self.source_of(auth.header_key(request.headers))
        most = self.settings.collector_max_body_bytes
        raw = await read(request, most, taken)
        received_ms = self.clock.now_ms()
        plain = unpack(raw, most, taken)
        try:
            body = loads(plain) if plain is not None else None
        except Unparsable:
            plain = None
        if plain is None:
            source = source or self.source_of(auth.bearer(request.headers))
            return await self._unusable(Problem.UNPARSABLE, raw, source, received_ms, headers)
        source = source or self.source_of(auth.write_key(request.headers, body))
        if source is None:
            raise Refusal(Problem.WRITE_KEY)
        enclosed = envelope(path, body)
        decided = enclosed if isinstance(enclosed, Problem) else self.accept.decide(enclosed, source, received_ms)
        if isinstance(decided, Accepted):
            await self.send(decided, source)
            return answers.kept(decided.results, sum(decided.types.values()), headers)
        if decided not in _QUARANTINED:
            raise Refusal(decided)
        return await self._unusable(decided, without_key(body, plain), source, received_ms, headers)

    def source_of(self, write_key: str | None) -> str | None:
        """The source of a key, None without one; raises Refusal for a key that no source has."""
        if not write_key:
            return None
        name = self.sources.name_of(write_key)
        if name is None:
            raise Refusal(Problem.WRITE_KEY)
        return name

    async def _unusable(
        self, problem: Problem, raw: bytes, source: str | None, received_ms: int, headers: dict[str, str]
    ) -> Response:
        """A body that holds no calls counts as one event in quarantine, if a source has sent it."""
        if source is None:
            return answers.refused(problem, headers)
        rejected = _QUARANTINED[problem]
        decided = Accepted(records=[self.accept.quarantined(raw, rejected, source, received_ms)])
        decided.reasons[rejected.reason] += 1
        await self.send(decided, source)
        return answers.refused(problem, headers, quarantined=1)

    async def send(self, decided: Accepted, source: str) -> None:
        """Write all of a request's records; raises Refusal when the broker has not taken every one."""
        if not decided.records:
            return
        try:
            await self._producer.send(decided.records)
        except OnefoldError as error:
            log.warning("not_stored", kind=type(error).__name__, error=str(error), records=len(decided.records))
            raise Refusal(Problem.BROKER) from error
        for event_type, count in decided.types.items():
            self.metrics.count("onefold_events_accepted_total", count, source=source, type=event_type)
        for reason, count in decided.reasons.items():
            self.metrics.count("onefold_events_quarantined_total", count, stage=STAGE, reason=reason)

    async def site(self, request: Request) -> Response:
        """GET /v1/projects/{write_key}/settings."""
        headers, write_key = self._cors.headers(request), request.path_params["write_key"]
        if request.method == "OPTIONS":
            return self._cors.preflight(request)
        if not self.sources.caught_up.is_set():
            return answers.refused(Problem.STARTING, headers)
        if self.sources.name_of(write_key) is None:
            return answers.refused(Problem.WRITE_KEY, headers)
        return answers.json_response(answers.site_settings(write_key, request.url.netloc, request.url.scheme), 200, headers)

    async def health(self, request: Request) -> Response:
        """GET /health: whether events can be taken, as far as this process knows by itself."""
        ready = self.sources.caught_up.is_set()
        return answers.json_response({"ready": ready}, 200 if ready else 503, self._cors.headers(request))

    async def failed(self, request: Request, error: Exception) -> Response:
        """Errors of routing: JSON too, and never a redirect, which two clients take for success."""
        method = isinstance(error, HTTPException) and error.status_code == 405
        return answers.refused(Problem.METHOD if method else Problem.NOT_FOUND, self._cors.headers(request))


def create_app(settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> Starlette:
    """The ASGI application; `state.collector` is its Collector."""
    collector = Collector(settings, producer, clock, sources, metrics)
    app = Starlette(
        routes=[
            Route("/v1/{call}", collector.events, methods=["POST", "OPTIONS"]),
            Route("/v1/projects/{write_key}/settings", collector.site, methods=["GET", "OPTIONS"]),
            Route("/health", collector.health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: collector.failed},
    )
    app.router.redirect_slashes = False
    app.state.collector = collector
    return app
