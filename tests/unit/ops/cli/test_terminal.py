"""Nothing that a command prints steers a terminal, whoever chose it and by whatever function it is printed."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ops.cli.terminal import SafeStream, escape_for_terminal, is_terminal, open_console, protect_streams, write_data

TITLE, CLIPBOARD, CLEAR, C1, TURNED = "\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[2J", "\u009b2J", "\u202enatas"
HOSTILE = f"Ánh {TITLE}{CLIPBOARD}{CLEAR}{C1}{TURNED}\r\b [link=https://evil.vn]x[/link] [/]"
STEERING = frozenset(map(chr, (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2028)))


@contextmanager
def protected() -> Iterator[io.TextIOWrapper]:
    """Yield what is printed to a protected standard output and error."""
    stream, before = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = stream
    try:
        protect_streams()
        yield stream
    finally:
        sys.stdout, sys.stderr = before


def printed(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def test_no_way_of_printing_lets_a_control_character_through() -> None:
    with protected() as output:
        sys.stdout.write(f"{HOSTILE}\n")
        typer.echo(HOSTILE)
        typer.echo(HOSTILE, err=True)
        sys.stdout.writelines([HOSTILE, "\n"])
        table = Table("event", title=HOSTILE)
        table.add_row(HOSTILE)
        console = open_console(width=200)
        console.print(table)
        console.print(HOSTILE, Text(HOSTILE, "bold"))
    text = printed(output)
    assert STEERING.isdisjoint(text)
    assert text.count("Ánh") == 8
    assert "\\u001b]52;c;" in text
    assert "[link=https://evil.vn]x[/link] [/]" in text


def test_styles_and_bars_are_the_consoles_own() -> None:
    with protected() as output:
        console = open_console(force_terminal=True, color_system="standard", width=100)
        console.print(Text(f"a{CLEAR}b", "bold red"))
        with Progress(console=console) as bars:
            bars.add_task(f"{TITLE}import", total=1)
    text = printed(output)
    assert "\x1b[1;31ma\\u001b[2Jb\x1b[0m" in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20)))
def test_json_stays_the_same_json(value: dict[str, str]) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert json.loads(escape_for_terminal(text)) == value


@given(st.text(max_size=60))
def test_whatever_the_text_it_steers_nothing_and_plain_text_stays(text: str) -> None:
    assert STEERING.isdisjoint(escape_for_terminal(text).replace("\r\n", ""))
    assert escape_for_terminal("Nguyễn\u00a0Thị Ánh\t250.000 ₫ 👩‍👧\r\n") == "Nguyễn\u00a0Thị Ánh\t250.000 ₫ 👩‍👧\r\n"


def test_data_goes_into_a_pipe_as_it_is() -> None:
    with protected() as output:
        write_data(b"\x00\xff\x1b[2J")
        assert not is_terminal(sys.stdout)
    buffer = output.buffer
    assert isinstance(buffer, io.BytesIO)
    assert buffer.getvalue() == b"\x00\xff\x1b[2J"


def test_data_and_errors_are_escaped_on_a_terminal() -> None:
    controller, terminal = pty.openpty()
    code = (
        "from ops.cli.terminal import *; protect_streams(); import sys; assert is_terminal(sys.stdout);"
        "write_data(b'\\x1b]0;owned\\x07 data\\n'); sys.stderr.write('\\x1b[2J error\\n')"
    )
    try:
        subprocess.run([sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, check=True, timeout=60)
        shown = os.read(controller, 10_000)
    finally:
        os.close(controller)
        os.close(terminal)
    assert b"\x1b" not in shown
    assert b"\x07" not in shown
    assert b"\\u001b]0;owned\\u0007 data" in shown
    assert b"\\u001b[2J error" in shown


def test_a_safe_stream_is_no_terminal_and_otherwise_the_stream() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    safe = SafeStream(stream)
    assert not safe.isatty()
    assert safe.encoding == "utf-8"
    assert safe.buffer is stream.buffer
