"""Read the events of one record of `touchpoints`: one JSON object, or several as JSON lines. Pure."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from domain.intake.parse import parse_call
from domain.intake.rejection import Rejection
from domain.intake.values import Unparsable, loads
from schemas.events import Event
from schemas.reasons import Reason

DEFAULT_SOURCE: Final = "default"
MAX_EVENT_BYTES: Final = 32 * 1024
MAX_EVENTS: Final = 2500


def parse_touchpoint(
    value: bytes | None,
    *,
    record_id: str,
    sources: Collection[str],
    received_ms: int,
    secret: bytes,
    country: str,
    max_event_bytes: int = MAX_EVENT_BYTES,
    max_events: int = MAX_EVENTS,
    admit: Callable[[Event], Event | Rejection] | None = None,
) -> list[Event | Rejection]:
    """Return one result for each line of a record; a record of one JSON object has one line.

    `record_id` names the record for ever ("topic-partition-offset"). With the number of the line it is the message id of a line
    that has none, and the `touchpoint_id` of a rejected line: so a replay makes the same events and the same quarantine records.
    `sources` are the names that a line may give; `default` is always allowed. `admit` decides last on each event.
    """

    def parse(call: Any, line: int, raw: bytes) -> Event | Rejection:
        line_id = f"{record_id}-{line}"
        if len(raw) > max_event_bytes:
            return Rejection(Reason.TOO_LARGE, f"{len(raw)} bytes, the limit is {max_event_bytes}", touchpoint_id=line_id, raw=raw)
        source = _declared_source(call, sources)
        result = (
            source
            if isinstance(source, Rejection)
            else parse_call(
                call,
                call_type=None,
                source=source,
                received_ms=received_ms,
                sent_ms=None,
                secret=secret,
                country=country,
                default_id=line_id,
            )
        )
        if admit is not None and isinstance(result, Event):
            result = admit(result)
        return replace(result, touchpoint_id=line_id, raw=raw) if isinstance(result, Rejection) else result

    raw = (value or b"").removeprefix(b"\xef\xbb\xbf")
    try:
        return [parse(loads(raw), 0, raw)]
    except Unparsable:
        pass
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n")) if line.strip()]
    if len(lines) > max_events:
        detail = f"{len(lines)} lines, the limit is {max_events}"
        return [Rejection(Reason.TOO_MANY, detail, touchpoint_id=f"{record_id}-0", raw=raw)]
    if len(lines) <= 1:
        return [Rejection(Reason.UNPARSABLE, "not JSON in UTF-8", touchpoint_id=f"{record_id}-0", raw=raw)]
    results: list[Event | Rejection] = []
    for number, line in lines:
        try:
            results.append(parse(loads(line), number, line))
        except Unparsable:
            results.append(Rejection(Reason.UNPARSABLE, "not JSON in UTF-8", touchpoint_id=f"{record_id}-{number}", raw=line))
    return results


def _declared_source(call: Any, sources: Collection[str]) -> str | Rejection:
    source_name = call.get("source") if isinstance(call, dict) else None
    if source_name is None or source_name == DEFAULT_SOURCE:
        return DEFAULT_SOURCE
    if not isinstance(source_name, str):
        return Rejection(Reason.WRONG_TYPE, "must be text", "source")
    return (
        source_name
        if source_name in sources
        else Rejection(Reason.UNKNOWN_SOURCE, "no Source of this name has `topic_ingress: true`", "source")
    )
