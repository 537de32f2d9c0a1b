import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from embedded import control
from embedded.directory_lock import lock_directory
from embedded.kafka import properties
from embedded.kafka_access import listener_properties
from embedded.layout import Layout
from runtime.errors import Invalid, Misconfigured, Permanent, Transient


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.of(tmp_path / "data")
    made.create_directories()
    return made


async def handle(command: str, name: str) -> Any:
    if name == "nope":
        raise Invalid("no role nope: choose among kafka", path="name")
    return {"did": command, "name": name}


async def test_a_command_is_answered_over_a_private_socket(layout: Layout) -> None:
    server = await control.serve(layout.socket("control"), handle)
    assert stat.S_IMODE(layout.socket("control").stat().st_mode) == 0o600
    assert await asyncio.to_thread(control.send_command, layout, "status") == {"did": "status", "name": ""}
    assert await asyncio.to_thread(control.send_command, layout, "stop_role", "Đà Nẵng") == {"did": "stop_role", "name": "Đà Nẵng"}
    with pytest.raises(Permanent, match="no role nope: choose among kafka"):
        await asyncio.to_thread(control.send_command, layout, "stop_role", "nope")
    server.close()


async def test_a_socket_left_by_a_killed_process_is_replaced(layout: Layout) -> None:
    (await control.serve(layout.socket("control"), handle)).close()
    server = await control.serve(layout.socket("control"), handle)
    assert await asyncio.to_thread(control.send_command, layout, "status") == {"did": "status", "name": ""}
    server.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json\n", b"[]\n", b'{"command": "shell"}\n', b'{"command": "stop_role"}\n', b'{"command": "stop", "name": "x"}\n',
        b'{"command": "start_role", "name": 5}\n', b"\xff\xfe\n",
    ],
)  # fmt: skip
async def test_a_malformed_request_is_refused(line: bytes) -> None:
    assert set(await control.answer_line(line, handle)) == {"error"}


async def test_a_client_that_sends_too_much_or_leaves_does_not_harm_the_next(layout: Layout) -> None:
    server = await control.serve(layout.socket("control"), handle)
    _, rude = await asyncio.open_unix_connection(layout.socket("control"))
    rude.write(b"x" * 200_000)
    _, gone = await asyncio.open_unix_connection(layout.socket("control"))
    gone.close()
    assert await asyncio.to_thread(control.send_command, layout, "status") == {"did": "status", "name": ""}
    rude.close()
    server.close()


def test_asking_where_nothing_runs_says_how_to_start(layout: Layout) -> None:
    with pytest.raises(Misconfigured, match=r"nothing runs in .*: start it with `onefold up`"):
        control.send_command(layout, "status")


def test_a_request_during_setup_is_answered_with_try_again(layout: Layout) -> None:
    with lock_directory(layout), pytest.raises(Transient, match="does not answer yet: try again"):
        control.send_command(layout, "status")


def test_the_broker_listens_on_loopback_only() -> None:
    text = properties(Path("/d/kafka/data"), 20_001, 20_002, listener_properties("password"))
    assert "\nlisteners=CLIENTS://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002\n" in text
    assert "listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT\n" in text
    assert "auto.create.topics.enable=false\n" in text
    assert "0.0.0.0" not in text


def test_a_directory_with_accents_is_written_as_java_reads_it() -> None:
    assert "log.dirs=/d\\u1eef li\\u1ec7u \\ud83d\\ude00/b\\u005cs\n" in properties(Path("/dữ liệu 😀/b\\s"), 1, 2, "")
