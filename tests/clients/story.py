"""Reads the instructions of a Python client: a line of JSON on standard input, {url, key, gzip, clock_ms, calls}."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Story:
    """The instructions of a client.

    `clock_ms` is how far the client's clock is ahead. A call's `ago_ms` is how long before now it happened, by that clock.
    """

    url: str
    key: str
    gzip: bool
    clock_ms: int
    calls: list[dict[str, Any]]


def read_instructions() -> Story:
    """Read the story as JSON from the first line of standard input."""
    return Story(**json.loads(sys.stdin.readline()))


def wrong_clock(ahead_ms: int, *modules: ModuleType) -> type[datetime]:
    """Replace `datetime` in these modules by one whose clock is `ahead_ms` ahead, and return it."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(milliseconds=ahead_ms)

    for module in modules:
        module.datetime = Ahead  # type: ignore[attr-defined]  # each has imported the name
    return Ahead


def arguments(call: dict[str, Any], clock: type[datetime]) -> dict[str, Any]:
    """Return the call's fields as keyword arguments that both Python clients accept."""
    names = {"userId": "user_id", "anonymousId": "anonymous_id", "groupId": "group_id", "previousId": "previous_id"}
    found = {names.get(name, name): value for name, value in call.items() if name not in ("type", "ago_ms")}
    if (ago_ms := call.get("ago_ms")) is not None:
        found["timestamp"] = clock.now(UTC) - timedelta(milliseconds=ago_ms)
    return found


def play(story: Story, client: Any, clock: type[datetime], errors: list[str]) -> None:
    """Make all calls, wait until they are sent, and print the errors as JSON."""
    for call in story.calls:
        getattr(client, call["type"])(**arguments(call, clock))
    client.flush()
    client.shutdown()
    sys.stdout.write(json.dumps({"errors": errors}))
