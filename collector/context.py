"""What the steps of a request work with: the parts of the collector, made once, and the context of one request. Both are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from collector.body import DecodedBody
from collector.free_space import FreeSpace
from collector.permits import Permit, PoolLimits, RequestLimiter
from collector.problems import Problem, RequestRefused
from collector.producers import BoundedProducer
from collector.responses import Cors
from collector.retry_buffer import RetryBuffer
from collector.source_registry import Sources
from collector.webhook_signature import Proof, ReplayCache
from domain.definitions.admission_rules import admission_rules
from domain.definitions.kinds import Source
from domain.intake.admission import Admission
from domain.intake.context import INTAKE_STEPS
from domain.intake.decide_calls import CallIntake, IntakeLimits, IntakeOutcome
from domain.intake.envelope import Envelope
from domain.intake.import_columns import ImportMapping
from domain.intake.rejection import BodyProblem
from runtime.bus.port import Producer
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.clock import Clock
from runtime.geoip import open_locator
from runtime.http.connections import prove_connection
from runtime.metrics import Metrics
from runtime.settings import Settings
from runtime.token_buckets import TokenBuckets

MAX_REQUESTS: Final = 1024
MAX_FULL_SIZE_BODIES: Final = 16
"""How many bodies of the largest size fit into memory at once. Many more of the usual size do."""
MAX_KEYLESS_BODIES: Final = 4
"""How many bodies of the largest size may be read before they have shown a key, half of them from one address."""


@dataclass(frozen=True, slots=True)
class CollectorParts:
    """What all requests share. `create_app` makes it once, and no field is ever replaced."""

    settings: Settings
    clock: Clock
    sources: Sources
    metrics: Metrics
    intake: CallIntake
    producer: BoundedProducer
    cors: Cors
    limiter: RequestLimiter
    rate_limits: TokenBuckets
    replay_cache: ReplayCache
    email_retries: RetryBuffer
    free_space: FreeSpace


def build_parts(settings: Settings, producer: Producer, clock: Clock, sources: Sources, metrics: Metrics) -> CollectorParts:
    """Build the parts of a collector that publishes through `producer`, and let its admission follow the definitions."""

    def count_violation(source: str, event: str, path: str, rule: str) -> None:
        metrics.count("onefold_plan_violations_total", source=source, event=event, path=path, rule=rule)

    admission = Admission(open_locator(settings.geoip_file), count_violation)
    sources.subscribe(lambda definitions: admission.replace_rules(admission_rules(definitions)))
    limits = IntakeLimits(
        max_batch_events=settings.collector_max_batch_events,
        max_event_bytes=settings.collector_max_event_bytes,
        max_body_bytes=settings.collector_max_body_bytes,
        max_record_bytes=MAX_RECORD_BYTES,
    )
    intake = CallIntake(
        limits,
        secret=settings.tenant_key,
        country=settings.default_country,
        new_id=lambda: uuid4().hex,
        steps=(*INTAKE_STEPS, lambda event, _: admission.admit(event)),
    )
    return CollectorParts(
        settings=settings,
        clock=clock,
        sources=sources,
        metrics=metrics,
        intake=intake,
        producer=BoundedProducer(producer, settings.collector_max_pending_bytes, settings.collector_max_pending_records),
        cors=Cors(settings.collector_cors_origins),
        limiter=_make_limiter(settings),
        rate_limits=TokenBuckets(),
        replay_cache=ReplayCache(),
        email_retries=RetryBuffer(lambda: metrics.count("onefold_email_requests_total", kind="any", result="lost")),
        free_space=FreeSpace(settings.min_free_bytes),
    )


def _make_limiter(settings: Settings) -> RequestLimiter:
    body_bytes = settings.collector_max_body_bytes
    keyed = PoolLimits(
        max_requests=MAX_REQUESTS,
        max_bytes=MAX_FULL_SIZE_BODIES * body_bytes,
        max_requests_per_peer=MAX_REQUESTS,
        max_bytes_per_peer=MAX_FULL_SIZE_BODIES * body_bytes,
    )
    keyless = PoolLimits(
        max_requests=MAX_REQUESTS,
        max_bytes=MAX_KEYLESS_BODIES * body_bytes,
        max_requests_per_peer=settings.http_max_unproven_per_peer,
        max_bytes_per_peer=MAX_KEYLESS_BODIES // 2 * body_bytes,
    )
    return RequestLimiter(keyed, keyless)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known of one request so far. A step never changes a context: it returns a new one that knows more.

    `headers` go into the answer, whatever it is: a refusal is answered with the headers that were known when a step refused.
    """

    request: Request
    permit: Permit
    headers: Mapping[str, str]
    source: Source | None = None
    """The source of the request's write key; None until a key was found."""
    write_key: str = field(default="", repr=False)
    """The write key by which the source was found."""
    received_ms: int = 0
    """When the whole body had arrived. A slow upload must not make its events older."""
    raw: bytes = b""
    """The body as it was sent; empty again once it is decoded."""
    body: DecodedBody | BodyProblem = BodyProblem.UNPARSABLE
    """The decoded body. Dropped once its records are encoded: what waits for the broker is in memory once, not twice."""
    envelope: Envelope | BodyProblem = BodyProblem.UNPARSABLE
    event_count: int = 0
    """How many events the request is charged for."""
    outcome: IntakeOutcome = field(default_factory=IntakeOutcome)
    problem: Problem | None = None
    """Why the body as a whole is in quarantine: the answer is this problem, after the record is durable."""
    proof: Proof | None = None
    """The verified signature of a webhook."""
    mapping: ImportMapping = field(default_factory=ImportMapping)
    """How the columns of an imported file are read."""
    response: Response | None = None

    def proven(self) -> "RequestContext":
        """Return the context of a request that has shown a valid key. Raises RequestRefused when no place is left for it."""
        self.permit.prove()
        prove_connection(self.request.scope)
        return self

    @property
    def known_source(self) -> Source:
        """The source of the request. Raises RequestRefused when the request named no write key."""
        if self.source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        return self.source
