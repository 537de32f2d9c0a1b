"""The Faust app of one agent. Made in a function: importing this module makes nothing."""

from typing import Any, Final, cast

from faust import Stream
from faust.types import StreamT

from runtime.settings import Settings
from schemas.topics import by_name
from streams.partition_queues import PartitionQueues
from streams.slices import SCHEME, Assignment, SliceApp, SliceScheduler, SliceSchema

STREAM_BUFFER_SLICES: Final = 8
HEARTBEATS_PER_SESSION: Final = 5


def create_faust_app(settings: Settings, agent: str, topic: str, *, assignment: Assignment, queues: PartitionQueues) -> SliceApp:
    """An app that reads `topic` (the register's name) as the consumer group of `agent` and gives every slice to `queues`.

    It makes no topics, serves no web pages, keeps no tables, and acknowledges nothing by itself.
    """
    session_s = settings.session_timeout_ms / 1000
    agent_dir = settings.data_dir / "streams" / agent
    agent_dir.mkdir(parents=True, exist_ok=True)
    app = SliceApp(
        settings.group(agent),
        broker=[f"{SCHEME}://{server.strip()}" for server in settings.kafka_bootstrap.split(",")],
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
        broker_request_timeout=max(90.0, session_s + 1),
        broker_max_poll_interval=settings.max_slice_ms / 1000,
        consumer_auto_offset_reset="earliest",
    )
    app.assignment = assignment
    channel = app.topic(settings.topic(by_name(topic).name), schema=SliceSchema())

    async def consume(stream: StreamT[Any]) -> None:
        async for event in cast("Stream[Any]", stream).noack().events():
            await queues.put(event)

    app.agent(channel, name=agent)(consume)
    return app
