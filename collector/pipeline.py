"""What every address of the collector shares: the way through the gate, whose write key it is, the broker, the metrics."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from collector import responses
from collector.body import ConcurrencyLimiter, Permit
from collector.client_address import client_address
from collector.problems import Problem, RequestRefused
from collector.producers import BoundedProducer
from collector.source_registry import Sources
from domain.definitions.kinds import Source
from domain.intake.admission import Admission
from domain.intake.context import INTAKE_STEPS, IntakeContext
from domain.intake.decide_calls import STAGE, CallIntake, IntakeOutcome
from runtime.bus.port import Producer
from runtime.clock import Clock
from runtime.errors import OnefoldError
from runtime.geoip import open_locator
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.settings import Settings
from runtime.token_buckets import TokenBuckets

MAX_REQUESTS: Final = 1024
MAX_FULL_SIZE_BODIES: Final = 16
"""How many bodies of the largest size may be held at once; many more of the usual size."""

Handler = Callable[[Permit, dict[str, str]], Awaitable[Response]]
"""Answers a request that has passed the gate, with these headers; raises Refusal."""
Endpoint = Callable[[Request], Awaitable[Response]]

log: Final = get_logger(__name__)


class RequestPipeline:
    """What every address of the collector works with. They call `handle`, and within it `authenticate`,
    `check_origin_and_rate`, `intake_context` and `publish`."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> None:
        self.settings, self.clock, self.sources, self.metrics = settings, clock, sources, metrics
        self.producer = BoundedProducer(producer, settings.collector_max_pending_bytes, settings.collector_max_pending_records)
        admission = Admission(open_locator(settings.geoip_file), self._count_violation)
        sources.subscribe(admission.replace_all)
        self.intake = CallIntake(settings, (*INTAKE_STEPS, lambda event, _: admission.admit(event)))
        self.cors = responses.Cors(settings.collector_cors_origins)
        self.limiter = ConcurrencyLimiter(MAX_REQUESTS, MAX_FULL_SIZE_BODIES * settings.collector_max_body_bytes)
        self.rate_limits = TokenBuckets()
        self.close_hooks: list[Callable[[], Awaitable[None]]] = []
        """What must end before the producer does."""

    async def handle(self, request: Request, path: str, handler: Handler) -> Response:
        """The answer of `handler` within the gate's bounds, counted as `path`; a Refusal or a bug in it becomes an answer too."""
        started_s, headers = time.monotonic(), self.cors.headers(request)
        if request.method == "OPTIONS":
            return self.cors.preflight(request, self.sources.origins())
        try:
            permit = self.limiter.acquire()
            try:
                if not self.sources.caught_up.is_set():
                    raise RequestRefused(Problem.STARTING)
                response = await handler(permit, headers)
            finally:
                permit.release()
        except RequestRefused as refusal:
            response = responses.refused_response(
                refusal.problem, {**headers, **refusal.headers}, retry_after_s=refusal.retry_after_s
            )
        except Exception as error:  # noqa: BLE001 - the client must hear that it shall send again
            log.error("request_failed", kind=type(error).__name__)  # noqa: TRY400 - a traceback's text may quote what was sent
            response = responses.refused_response(Problem.BUG, headers)
        self.metrics.count("onefold_http_requests_total", path=path, status=str(response.status_code))
        self.metrics.observe("onefold_http_request_seconds", time.monotonic() - started_s, path=path)
        return response

    def source_name_of(self, write_key: str | None) -> str | None:
        """The name of the source of a key, None without one; raises Refusal for a key that no source has."""
        source = self.authenticate(write_key)
        return None if source is None else source.metadata.name

    def authenticate(self, write_key: str | None) -> Source | None:
        """The source of a key, None without one; raises Refusal for a key that no source has, or no longer."""
        if not write_key:
            return None
        source = self.sources.find(write_key, self.clock.now_ms())
        if source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        return source

    def intake_context(self, request: Request, source: Source, received_ms: int) -> IntakeContext:
        """What the request says besides its body."""
        peer = request.client.host if request.client is not None else ""
        return IntakeContext(
            source=source.metadata.name,
            received_ms=received_ms,
            gpc=request.headers.get("sec-gpc", "").strip() == "1",
            ip=client_address(peer, request.headers.getlist("x-forwarded-for"), self.settings.collector_trusted_hops),
            record_ip=source.spec.record_ip,
            user_agent=request.headers.get("user-agent", "")[:1024],
        )

    def check_origin_and_rate(self, request: Request, source: Source, event_count: int, headers: dict[str, str]) -> None:
        """Raises Refusal when the source lets this origin not in, or has sent more events than its rate allows.

        `headers` of the answer become those of the source. Ask with 0 events first: that costs nothing.
        """
        self.cors.restrict_to_source(request, source.spec.cors_origins, headers)
        limit = source.spec.rate_limit
        if limit is None:
            return
        now_ms = self.clock.now_ms()
        wait_ms = self.rate_limits.consume(source.metadata.name, limit.events_per_second, limit.burst_events, event_count, now_ms)
        if wait_ms:
            wait_s = -(-wait_ms // 1000)
            reset_s = -(-(now_ms + wait_ms) // 1000)
            raise RequestRefused(Problem.RATE, retry_after_s=wait_s, headers={**headers, responses.RESET_HEADER: str(reset_s)})

    async def publish(self, outcome: IntakeOutcome, source: str) -> None:
        """Write all of a request's records; raises Refusal when the broker has not taken every one."""
        if not outcome.records:
            return
        try:
            await self.producer.send(outcome.records)
        except OnefoldError as error:
            log.warning("not_stored", kind=type(error).__name__, error=str(error), records=len(outcome.records))
            raise RequestRefused(Problem.BROKER) from error
        for event_type, count in outcome.accepted_by_type.items():
            self.metrics.count("onefold_events_accepted_total", count, source=source, type=event_type)
        for reason, count in outcome.rejected_by_reason.items():
            self.metrics.count("onefold_events_quarantined_total", count, stage=STAGE, reason=reason)

    def _count_violation(self, source: str, event: str, path: str, rule: str) -> None:
        self.metrics.count("onefold_plan_violations_total", source=source, event=event, path=path, rule=rule)

    async def aclose(self) -> None:
        """End what the addresses have under way."""
        for close in self.close_hooks:
            await close()
