"""The Faust app as a source of slices: what Faust hands over is delivered whole, and the agent alone acknowledges it."""

from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from runtime.bus.kafka_connection import client_options
from runtime.bus.port import Partition, Record
from runtime.settings import Settings
from streams.faust_app import FaustSliceSource, create_faust_app
from streams.slice_source import DeliveredSlice


class NoAssignment:
    """An assignment without positions."""

    async def on_assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:  # noqa: ARG002 - the port's shape
        return {}

    async def on_revoked(self) -> None:
        return

    def on_failure(self, error: BaseException) -> None:
        raise error


class FakeStream:
    """What Faust gives to an agent's function: it counts as read without acknowledgements only after `noack`."""

    def __init__(self, *events: Any) -> None:
        self._events = events
        self.without_acks = False

    def noack(self) -> "FakeStream":
        self.without_acks = True
        return self

    async def events(self) -> AsyncIterator[Any]:
        for event in self._events:
            yield event


def faust_event(offsets: range, acknowledged: list[range], generation: int = 4) -> Any:
    records = [
        SimpleNamespace(
            topic="onefold.events", partition=2, offset=offset, timestamp=7, key=b"k", value=b"v%d" % offset, headers=[("h", b"1")]
        )
        for offset in offsets
    ]
    return SimpleNamespace(
        message=SimpleNamespace(topic="onefold.events", partition=2, generation_id=generation),
        value=records,
        ack=lambda: acknowledged.append(offsets),
    )


async def test_each_faust_event_is_delivered_as_a_slice_and_left_to_be_acknowledged(tmp_path: Path) -> None:
    delivered: list[DeliveredSlice] = []
    acknowledged: list[range] = []

    async def deliver(one: DeliveredSlice) -> None:
        delivered.append(one)

    source = FaustSliceSource(Settings(data_dir=tmp_path), "unify", "events", assignment=NoAssignment(), deliver=deliver)
    [agent] = source._app.agents.values()
    stream = FakeStream(faust_event(range(10, 12), acknowledged), faust_event(range(12, 13), acknowledged, generation=5))
    await agent.fun(stream)
    assert stream.without_acks
    assert [one.partition for one in delivered] == [Partition("onefold.events", 2)] * 2
    assert [one.generation for one in delivered] == [4, 5]
    assert delivered[0].records == [
        Record("onefold.events", 2, 10, 7, b"k", b"v10", (("h", b"1"),)),
        Record("onefold.events", 2, 11, 7, b"k", b"v11", (("h", b"1"),)),
    ]
    assert acknowledged == []
    delivered[1].ack()
    assert acknowledged == [range(12, 13)]


async def test_source_has_the_generation_of_its_app_and_runs_until_the_app_ends(tmp_path: Path) -> None:
    async def deliver(_: DeliveredSlice) -> None:
        return

    source = FaustSliceSource(Settings(data_dir=tmp_path), "unify", "events", assignment=NoAssignment(), deliver=deliver)
    source._app.consumer_generation_id = 3
    assert source.generation == 3
    assert not source.ended


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"security_protocol": "PLAINTEXT"}),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_user": "lan", "kafka_password": "hush"},
            {
                "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "lan",
                "sasl_plain_password": "hush", "ssl_context": None,
            },
        ),
        ({"kafka_security_protocol": "SSL"}, {"security_protocol": "SSL", "ssl_context": ANY}),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN", "kafka_user": "lan", "kafka_password": "hush"},
            {
                "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_plain_username": "lan",
                "sasl_plain_password": "hush", "ssl_context": ANY,
            },
        ),
    ],
)  # fmt: skip
def test_faust_logs_in_as_the_bus_does(variables: dict[str, str], expected: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, **variables})
    app = create_faust_app(settings, "accept", "touchpoints", assignment=NoAssignment(), deliver=_discard)
    assert credentials_to_aiokafka_auth(app.conf.broker_credentials, app.conf.ssl_context) == expected
    options = client_options(settings)
    assert {name: options.get(name) for name in expected if name != "ssl_context"} == {
        name: value for name, value in expected.items() if name != "ssl_context"
    }


async def _discard(delivered: DeliveredSlice) -> None:
    """Ignore a slice: none comes."""
