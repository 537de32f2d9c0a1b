"""A stack of real stores inside the test: what `onefold up` runs, without the command around it."""

import asyncio
import functools
import os
import signal
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from embedded.child_process import process_identity, surviving_pid
from embedded.layout import Layout
from embedded.roles import Role
from embedded.up import up
from runtime.bus.kafka_connection import client_options
from runtime.errors import Invalid, Misconfigured, Transient
from runtime.settings import Settings
from runtime.variables import read_settings
from tests.support.embedded_stack import embedded_stack
from tests.support.polling import eventually_async

wait_until = functools.partial(eventually_async, within_s=60)

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.redis]
SERVICES = ("redis", "kafka")


async def test_killed_store_restarts_with_its_data(tmp_path: Path) -> None:
    messages: list[str] = []
    async with embedded_stack(tmp_path / "dữ liệu", services=SERVICES, print_line=messages.append) as running:
        options = client_options(read_settings(running.variables))
        admin = AIOKafkaAdminClient(**options)
        await admin.start()
        await admin.create_topics([NewTopic("onefold.kept", 3, 1)])
        await admin.close()
        before = {role["name"]: role["pid"] for role in (await running.status())["roles"]}
        os.kill(before["kafka"], signal.SIGKILL)
        await wait_until(lambda: any(line.startswith("kafka is ready again") for line in messages))
        state = await running.status()
        assert state["ready"] is True
        assert {role["name"]: role["restarts"] for role in state["roles"]} == {"redis": 0, "kafka": 1}
        admin = AIOKafkaAdminClient(**options)
        await admin.start()
        assert await admin.list_topics() == ["onefold.kept"]
        await admin.close()
        last = [role["pid"] for role in state["roles"]]
    assert [process_identity(pid) for pid in (*before.values(), *last)] == [None] * 4


async def test_a_store_can_be_stopped_and_started_by_hand(tmp_path: Path) -> None:
    async with embedded_stack(tmp_path / "data", services=("redis",)) as running:
        await running.stop_role("redis")
        stopped = await running.status()
        assert stopped["ready"] is False
        assert stopped["roles"] == [{"name": "redis", "pid": None, "ready": False, "restarts": 0}]
        await running.start_role("redis")
        assert (await running.status())["ready"] is True
        with pytest.raises(Invalid, match="no role nope: choose among redis"):
            await running.stop_role("nope")


async def test_topics_and_tables_are_made_before_the_first_role_starts(tmp_path: Path) -> None:
    observed: list[Settings] = []

    async def prepare(settings: Settings) -> None:
        observed.append(settings)

    role = Role("broken", "ops.no_such_module")
    with pytest.raises(Transient, match=r"(?s)broken ended while starting \(exit 1\).*No module named"):
        async with embedded_stack(tmp_path / "data", services=("redis",), roles=(role,), prepare=prepare):
            pass
    assert [settings.data_dir for settings in observed] == [tmp_path / "data"]


@pytest.mark.parametrize("failure", [Misconfigured("the topic register names a topic twice"), RuntimeError("a bug")])
def test_a_failed_preparation_stops_what_had_started(tmp_path: Path, failure: Exception) -> None:
    layout = Layout.of(tmp_path / "data")
    pids: list[int] = []

    async def prepare(settings: Settings) -> None:
        del settings
        pids.extend(surviving_pid(path) or 0 for path in layout.run.glob("*.pid"))
        raise failure

    messages: list[str] = []
    with pytest.raises(type(failure), match=str(failure)):
        up(
            layout,
            roles=(),
            announce=lambda state: messages.append(str(state)),
            notify=messages.append,
            stores=("redis",),
            prepare=prepare,
        )
    assert len(pids) == 1
    assert process_identity(pids[0]) is None
    assert messages == ["starting redis", "making topics, tables and the sources"]
    assert list(layout.run.glob("*.sock")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_startup_ends_the_engine_in_order(tmp_path: Path, number: signal.Signals) -> None:
    layout = Layout.of(tmp_path / "data")
    pids: list[int] = []

    async def prepare(settings: Settings) -> None:
        del settings
        pids.extend(surviving_pid(path) or 0 for path in layout.run.glob("*.pid"))
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    messages: list[str] = []
    up(
        layout,
        roles=(),
        announce=lambda state: messages.append(str(state)),
        notify=messages.append,
        stores=("redis",),
        prepare=prepare,
    )
    assert messages == ["starting redis", "making topics, tables and the sources", "stopping", "stopped"]
    assert len(pids) == 1
    assert process_identity(pids[0]) is None
