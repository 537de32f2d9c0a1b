"""What every address of the collector shares: the way through the gate, whose write key it is, the broker, the metrics."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from collector import responses as answers
from domain.intake.decide_calls import STAGE, Accept, Accepted
from collector.body import Gate, Pass
from collector.client_address import address
from collector.source_registry import Sources
from domain.intake.context import STEPS, Facts
from runtime.token_buckets import Buckets
from collector.producers import Bounded
from collector.problems import Problem, Refusal
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import OnefoldError
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.geoip import locator
from runtime.settings import Settings
from domain.intake.admission import Admission
from domain.definitions.kinds import Source

MAX_REQUESTS: Final = 1024
BODIES_AT_ONCE: Final = 16
"""How many bodies of the largest size may be held at once; many more of the usual size."""

Take = Callable[[Pass, dict[str, str]], Awaitable[Response]]
"""Answers a request that has passed the gate, with these headers; raises Refusal."""
Endpoint = Callable[[Request], Awaitable[Response]]

log: Final = get_logger(__name__)


class Desk:
    """What every address of the collector works with. They call `guarded`, and within it `known`, `admit`, `facts` and `send`."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> None:
        self.settings, self.clock, self.sources, self.metrics = settings, clock, sources, metrics
        self.producer = Bounded(producer, settings.collector_max_pending_bytes, settings.collector_max_pending_records)
        admission = Admission(locator(settings.geoip_file), self._violated)
        sources.tell(admission.become)
        self.accept = Accept(settings, (*STEPS, lambda event, _: admission.admit(event)))
        self.cors = answers.Cors(settings.collector_cors_origins)
        self.gate = Gate(MAX_REQUESTS, BODIES_AT_ONCE * settings.collector_max_body_bytes)
        self.buckets = Buckets()
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """What must end before the producer does."""

    async def guarded(self, request: Request, path: str, take: Take) -> Response:
        """The answer of `take` within the gate's bounds, counted as `path`; a Refusal or a bug in it becomes an answer too."""
        started, headers = time.monotonic(), self.cors.headers(request)
        if request.method == "OPTIONS":
            return self.cors.preflight(request, self.sources.origins())
        try:
            taken = self.gate.enter()
            try:
                if not self.sources.caught_up.is_set():
                    raise Refusal(Problem.STARTING)
                response = await take(taken, headers)
            finally:
                taken.leave()
        except Refusal as refusal:
            response = answers.refused(refusal.problem, {**headers, **refusal.headers}, retry_after_s=refusal.retry_after_s)
        except Exception as error:  # noqa: BLE001 - the client must hear that it shall send again
            log.error("request_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
            response = answers.refused(Problem.BUG, headers)
        self.metrics.count("onefold_http_requests_total", path=path, status=str(response.status_code))
        self.metrics.observe("onefold_http_request_seconds", time.monotonic() - started, path=path)
        return response

    def source_of(self, write_key: str | None) -> str | None:
        """The name of the source of a key, None without one; raises Refusal for a key that no source has."""
        found = self.known(write_key)
        return None if found is None else found.metadata.name

    def known(self, write_key: str | None) -> Source | None:
        """The source of a key, None without one; raises Refusal for a key that no source has, or no longer."""
        if not write_key:
            return None
        found = self.sources.find(write_key, self.clock.now_ms())
        if found is None:
            raise Refusal(Problem.WRITE_KEY)
        return found

    def facts(self, request: Request, source: Source, received_ms: int) -> Facts:
        """What the request says besides its body."""
        peer = request.client.host if request.client is not None else ""
        return Facts(
            source=source.metadata.name,
            received_ms=received_ms,
            gpc=request.headers.get("sec-gpc", "").strip() == "1",
            ip=address(peer, request.headers.getlist("x-forwarded-for"), self.settings.collector_trusted_hops),
            record_ip=source.spec.record_ip,
            user_agent=request.headers.get("user-agent", "")[:1024],
        )

    def admit(self, request: Request, source: Source, events: int, headers: dict[str, str]) -> None:
        """Raises Refusal when the source lets this origin not in, or has sent more events than its rate allows.

        `headers` of the answer become those of the source. Ask with 0 events first: that costs nothing.
        """
        self.cors.narrow(request, source.spec.cors_origins, headers)
        limit = source.spec.rate_limit
        if limit is None:
            return
        now_ms = self.clock.now_ms()
        wait_ms = self.buckets.take(source.metadata.name, limit.events_per_second, limit.burst_events, events, now_ms)
        if wait_ms:
            wait_s = -(-wait_ms // 1000)
            reset_s = -(-(now_ms + wait_ms) // 1000)
            raise Refusal(Problem.RATE, retry_after_s=wait_s, headers={**headers, answers.RESET: str(reset_s)})

    async def send(self, decided: Accepted, source: str) -> None:
        """Write all of a request's records; raises Refusal when the broker has not taken every one."""
        if not decided.records:
            return
        try:
            await self.producer.send(decided.records)
        except OnefoldError as error:
            log.warning("not_stored", kind=type(error).__name__, error=str(error), records=len(decided.records))
            raise Refusal(Problem.BROKER) from error
        for event_type, count in decided.types.items():
            self.metrics.count("onefold_events_accepted_total", count, source=source, type=event_type)
        for reason, count in decided.reasons.items():
            self.metrics.count("onefold_events_quarantined_total", count, stage=STAGE, reason=reason)

    def _violated(self, source: str, event: str, path: str, rule: str) -> None:
        self.metrics.count("onefold_plan_violations_total", source=source, event=event, path=path, rule=rule)

    async def aclose(self) -> None:
        """End what the addresses have under way."""
        for close in self.closing:
            await close()
