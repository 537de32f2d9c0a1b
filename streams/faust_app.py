"""The Faust app of one agent. It is made in a function: importing this module makes nothing."""

from collections.abc import Mapping
from typing import Any, Final, cast

from faust import SASLCredentials, Stream
from faust.auth import SSLCredentials
from faust.types import StreamT
from faust.types.auth import CredentialsT

from runtime.bus.kafka_connection import client_options
from runtime.bus.port import Partition, Record
from runtime.settings import Settings
from schemas.topics import by_name
from streams.slice_source import Assignment, Deliver, DeliveredSlice
from streams.slices import SCHEME, SliceApp, SliceScheduler, SliceSchema

STREAM_BUFFER_SLICES: Final = 8
HEARTBEATS_PER_SESSION: Final = 5


class FaustSliceSource:
    """The production source of slices: a Faust app, which is a consumer group member of its own. See `SliceSource`."""

    def __init__(
        self, settings: Settings, agent: str, topic: str, *, assignment: Assignment, deliver: Deliver, first_offset: int = 0
    ) -> None:
        self._app = create_faust_app(settings, agent, topic, assignment=assignment, deliver=deliver, first_offset=first_offset)

    @property
    def generation(self) -> int:
        return self._app.consumer_generation_id

    @property
    def ended(self) -> bool:
        return bool(self._app.should_stop)

    async def start(self) -> None:
        await self._app.start()

    async def commit(self) -> None:
        await self._app.consumer.commit()

    async def aclose(self) -> None:
        await self._app.stop()


def create_faust_app(
    settings: Settings, agent: str, topic: str, *, assignment: Assignment, deliver: Deliver, first_offset: int = 0
) -> SliceApp:
    """Make an app that reads `topic` (the register's name) as the group of `agent` and gives every slice to `deliver`.

    Inside of the app offsets are those of Kafka; `first_offset` is added to those that leave it. The app creates no topics, serves
    no web pages, keeps no tables, and acknowledges nothing by itself.
    """
    options = client_options(settings)
    session_s = settings.session_timeout_ms / 1000
    agent_dir = settings.data_dir / "streams" / agent
    agent_dir.mkdir(parents=True, exist_ok=True)
    app = SliceApp(
        settings.group(agent),
        broker=[f"{SCHEME}://{server}" for server in options["bootstrap_servers"]],
        broker_credentials=_credentials(options),
        datadir=str(agent_dir / "faust"),
        ConsumerScheduler=SliceScheduler,
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        broker_max_poll_records=settings.max_poll_records,
        stream_buffer_maxsize=STREAM_BUFFER_SLICES,
        stream_wait_empty=False,
        broker_commit_interval=settings.commit_interval_ms / 1000,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / HEARTBEATS_PER_SESSION,
        # The client refuses a request timeout that is not longer than the session.
        broker_request_timeout=max(90.0, session_s + 1),
        broker_max_poll_interval=settings.max_slice_ms / 1000,
        consumer_auto_offset_reset="earliest",
    )
    app.assignment = assignment
    app.first_offset = first_offset
    channel = app.topic(settings.topic(by_name(topic).name), schema=SliceSchema())

    async def consume(stream: StreamT[Any]) -> None:
        # `noack`: otherwise Faust would acknowledge each slice as soon as the loop asks for the next one.
        async for event in cast("Stream[Any]", stream).noack().events():
            message = event.message
            await deliver(
                DeliveredSlice(
                    partition=Partition(message.topic, message.partition),
                    generation=message.generation_id,
                    records=[_to_bus_record(record, first_offset) for record in cast("list[Any]", event.value)],
                    ack=event.ack,
                )
            )

    app.agent(channel, name=agent)(consume)
    return app


def _credentials(options: Mapping[str, Any]) -> CredentialsT | None:
    """Return the login of aiokafka's options in Faust's form; None for a broker that asks for nothing."""
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


def _to_bus_record(record: Any, first_offset: int) -> Record:
    """Convert a record of aiokafka into one of the bus."""
    offset = record.offset + first_offset
    return Record(record.topic, record.partition, offset, record.timestamp, record.key, record.value, tuple(record.headers))
