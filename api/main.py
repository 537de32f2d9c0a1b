"""The API process. It starts and reads profiles even while Kafka or ClickHouse does not answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from api.access import TokenGate
from api.app import Api
from api.delivery_routes import DeliveryDependencies
from api.quarantine_routes import MAX_RAW_BYTES, QuarantineDependencies
from domain.definitions.live import LiveDefinitions
from domain.intake.admission import Admission
from domain.segments.sql.compile import membership_query
from domain.text_caches import cache_sizes, limit_caches
from ops.definitions_topic import readable_rules
from ops.identity.audit import IdentityHistory
from ops.identity.service import IdentityService
from ops.profile_reader import ProfileReader
from ops.quarantine.replay_decider import ReplayDecider
from ops.segments.reconcile import reconcile_daily
from ops.segments.service import SegmentService
from ops.segments.verifier import SegmentVerifier
from profile_store.connect import open_store
from profile_store.port import ProfileStore
from runtime.api_tokens import TokenFile
from runtime.bus.follow import TopicFollower
from runtime.bus.kafka import KafkaBus
from runtime.bus.watch_log import stopping_with_log
from runtime.clock import SystemClock
from runtime.errors import OnefoldError, Transient
from runtime.geoip import open_locator
from runtime.health import HealthServer
from runtime.http.limits import HttpLimits
from runtime.http.server import QuietServer, closed_counter, make_server, open_listener
from runtime.lazy_connection import LazyConnection
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.retry import Backoff
from runtime.settings import Settings
from warehouse.client import HISTORY_READ_TIMEOUT_S, Warehouse

GRACE_S: Final = 5
MAX_HEADER_BYTES: Final = 32 * 1024
BROKER_MS: Final = 5_000
DECISION_S: Final = 5.0
RETRY_BASE_MS: Final = 500
RETRY_MAX_MS: Final = 10_000

log: Final = get_logger(__name__)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, and finish the answers in progress. Raises Misconfigured when the port is taken."""
    store, metrics = open_store(settings, SystemClock()), Metrics()
    limit_caches(settings.cache_bytes)
    metrics.refresh_by(lambda: metrics.set_all("onefold_cache_bytes", cache_sizes()))
    tokens = TokenFile(settings.tokens_file)
    gate = TokenGate(tokens.current, SystemClock(), metrics)
    if not tokens.current():
        log.warning("no_api_tokens", file=str(settings.tokens_file), cure="onefold tokens add NAME --scope SCOPE")
    try:
        async with (
            HealthServer(settings, metrics, {"redis": store.ping, "tokens": tokens.ping}),
            _services(settings, store, metrics, stop) as (identity_service, quarantine, segment_explainer, deliveries),
        ):
            reader = ProfileReader(settings, store, identity_service.rules, segment_explainer.plan)
            api = Api(reader, gate, identity_service, quarantine, segment_explainer, deliveries)
            limits = HttpLimits.of(settings, max_header_bytes=MAX_HEADER_BYTES, max_body_bytes=MAX_RAW_BYTES)
            server = make_server(api.application(), limits, grace_s=GRACE_S, count_closed=closed_counter(metrics, "api"))
            with open_listener(settings.api_host, settings.api_port, name="the profile API", setting="ONEFOLD_API") as listener:
                await _serve(server, listener, stop)
    finally:
        await store.aclose()


@asynccontextmanager
async def _services(
    settings: Settings, store: ProfileStore, metrics: Metrics, stop: asyncio.Event
) -> AsyncIterator[tuple[IdentityService, QuarantineDependencies, SegmentService, DeliveryDependencies]]:
    """Provide the services that answer requests, and reconcile segments every night meanwhile.

    The services follow the live definitions. ClickHouse and the producer are connected when the first request needs them,
    so the API starts and answers profiles while ClickHouse or the broker does not answer.
    """
    clock, definitions = SystemClock(), _build_definitions(settings)
    warehouse = LazyConnection(lambda: Warehouse.connect(settings), clock)
    history = LazyConnection(lambda: Warehouse.connect(settings, read_timeout_s=HISTORY_READ_TIMEOUT_S), clock)
    async with KafkaBus(settings, timeout_ms=BROKER_MS, read_adopted=store.adopted_log) as bus, stopping_with_log(bus, stop):
        producer = LazyConnection(bus.producer, clock)

        async def show_bad_records() -> None:
            metrics.set("onefold_bad_definitions", len(definitions.bad_records))

        follower = TopicFollower(bus, settings.topic("definitions"), definitions, show_bad_records)
        caught_up = follower.caught_up.is_set
        tasks = [
            asyncio.create_task(_follow_until_cancelled(follower)),
            asyncio.create_task(
                _reconcile_nightly(
                    settings, store, bus, history=history, definitions=definitions, metrics=metrics, caught_up=caught_up
                )
            ),
        ]
        try:
            identity_service = IdentityService(
                settings=settings,
                store=store,
                clock=clock,
                rules=partial(readable_rules, definitions),
                history=IdentityHistory(warehouse.get),
                producer=producer.get,
                timeout_s=DECISION_S,
                rules_known=caught_up,
            )

            def make_decider() -> ReplayDecider:
                if not caught_up():
                    raise Transient("this process has not read the definitions yet: try again")
                return ReplayDecider(settings, definitions.sources, definitions.admission, definitions.namespaces)

            yield (
                identity_service,
                QuarantineDependencies(
                    settings=settings, clock=clock, warehouse=warehouse.get, producer=producer.get, make_decider=make_decider
                ),
                _segment_service(settings, store, definitions, warehouse=warehouse, caught_up=caught_up),
                DeliveryDependencies(settings, clock, bus, warehouse.get, producer.get),
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await producer.aclose()
            await warehouse.aclose()
            await history.aclose()


def _segment_service(
    settings: Settings,
    store: ProfileStore,
    definitions: LiveDefinitions,
    *,
    warehouse: LazyConnection[Warehouse],
    caught_up: Callable[[], bool],
) -> SegmentService:
    return SegmentService(
        settings=settings,
        store=store,
        clock=SystemClock(),
        plan=lambda: definitions.plan,
        rules=partial(readable_rules, definitions),
        warehouse=warehouse.get,
        definitions_loaded=caught_up,
    )


def _build_definitions(settings: Settings) -> LiveDefinitions:
    return LiveDefinitions(
        secret=settings.tenant_key,
        country=settings.default_country,
        admission=Admission(open_locator(settings.geoip_file)),
        report_bad=lambda record: log.warning("definition_skipped", offset=record.offset, key=record.key, reason=record.reason),
    )


async def _follow_until_cancelled(follower: TopicFollower) -> None:
    """Follow the definitions until cancelled, and retry while the topic does not exist: reading profiles needs no Kafka."""
    backoff = Backoff(RETRY_BASE_MS, RETRY_MAX_MS)
    while True:
        try:
            await follower.run()
        except OnefoldError as error:
            log.warning("definitions_not_followed", error=str(error))
        await backoff.wait()


async def _reconcile_nightly(
    settings: Settings,
    store: ProfileStore,
    bus: KafkaBus,
    *,
    history: LazyConnection[Warehouse],
    definitions: LiveDefinitions,
    metrics: Metrics,
    caught_up: Callable[[], bool],
) -> None:
    """Compare segments with their SQL every night, by the definitions that are live then."""
    plan, rules = (lambda: definitions.plan), partial(readable_rules, definitions)
    verifier = SegmentVerifier(
        settings=settings,
        store=store,
        warehouse=history.get,
        bus=bus,
        clock=SystemClock(),
        plan=plan,
        rules=rules,
        membership_query=membership_query,
    )
    await reconcile_daily(settings.reconcile_at, verifier, metrics, caught_up)


async def _serve(server: QuietServer, listener: socket.socket, stop: asyncio.Event) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
