"""What a log line may contain."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from runtime.logs import configure, get_logger, redact
from runtime.redaction import REDACTED
from runtime.settings import Settings

LETTERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
EMAILS = st.builds("{}.{}@{}.com.vn".format, LETTERS, LETTERS, LETTERS)
DIGITS = st.text("0123456789", min_size=9, max_size=9)
PHONES = st.one_of(
    st.builds("0{}".format, DIGITS),
    st.builds("+84{}".format, DIGITS),
    st.builds(lambda d: f"0{d[:3]} {d[3:6]} {d[6:]}", DIGITS),
    st.builds(lambda d: f"+84-{d[:2]}-{d[2:5]}-{d[5:]}", DIGITS),
)
FRAMES = st.sampled_from(
    ["{}", "no answer for {}", "caller={}", "phone:{}", "sip:{}", "tel:{}, again", "<{}>", '{{"x": "{}"}}', "{}."]
)


def redacted(**facts: Any) -> str:
    return json.dumps(redact(None, "info", facts), ensure_ascii=False)


@given(EMAILS, FRAMES)
def test_no_email_is_ever_written(email: str, frame: str) -> None:
    text = frame.format(email)
    assert email not in redacted(event=text, error={"deep": [text]}, any=(text,))


@given(PHONES, FRAMES)
def test_no_phone_number_is_ever_written(phone: str, frame: str) -> None:
    text = frame.format(phone)
    assert phone not in redacted(event=text, error={"deep": [text]}, any=(text,))


@pytest.mark.parametrize("key", ["value", "traits", "properties", "Email", "phone", "user_id", "write_key", "token", "raw"])
def test_personal_keys_are_masked_at_any_depth(key: str) -> None:
    facts = {key: "Nguyễn Thị Ánh", "deep": {"list": [{key: {"first": "Ánh"}}]}}
    assert "Ánh" not in redacted(**facts)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T15:59:22.123456Z",
        "127.0.0.1:9092",
        "192.168.100.200:80",
        "2026-11-24 15:59:22",
        "onefold.events",
        "3 of 1000 in 25 ms",
        "Nguyễn Thị Ánh ở Huế",
    ],
)
def test_plain_facts_stay_readable(text: str) -> None:
    assert text in redacted(event=text)


def test_technical_numbers_are_not_redacted() -> None:
    assert redact(None, "info", {"offset": 1_750_000_000_000}) == {"offset": 1_750_000_000_000}


class Lines:
    """The lines that have been written to stderr so far."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture, self._text = capture, ""

    def getvalue(self) -> str:
        self._text += self._capture.readouterr().err
        return self._text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield Lines(capsys)
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_json_with_action_level_role_and_time(lines: Lines) -> None:
    configure(Settings(), "collector")
    get_logger("here").info("accepted", count=3)
    line = json.loads(lines.getvalue())
    assert line["action"] == "accepted"
    assert line["level"] == "info"
    assert line["role"] == "collector"
    assert line["count"] == 3
    assert line["at"].endswith("Z")


def test_libraries_and_tracebacks_are_redacted_too(lines: Lines) -> None:
    configure(Settings(), "collector")
    error = RuntimeError("no such user: anh.nguyen@example.com")
    logging.getLogger("some.library").error("failed for %s", "0912345678", exc_info=error)
    line = lines.getvalue()
    assert "anh.nguyen" not in line
    assert "0912345678" not in line
    assert "RuntimeError" in line
    assert REDACTED in line


def test_client_libraries_that_log_records_are_silenced(lines: Lines) -> None:
    configure(Settings(log_level="debug"), "collector")
    logging.getLogger("aiokafka.producer.producer").debug("Sending (key=%s value=%s)", "k", "v")
    assert lines.getvalue() == ""


def test_log_level_setting_is_applied(lines: Lines) -> None:
    configure(Settings(log_level="warning"), "collector")
    get_logger("here").info("quiet")
    assert lines.getvalue() == ""


def test_console_lines_are_for_people(lines: Lines) -> None:
    configure(Settings(log_format="console"), "collector")
    get_logger("here").warning("slow", took_ms=7)
    assert "took_ms" in lines.getvalue()
    assert not lines.getvalue().startswith("{")
