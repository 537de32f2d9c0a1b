"""Read the events of one record of `touchpoints`: one JSON object, or several as JSON lines or as a JSON list. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.intake.parse import parse_call
from domain.intake.raw_json import encode_losslessly
from domain.intake.rejection import Rejection
from domain.intake.trust import SERVER_SOURCE, Trust
from domain.intake.values import Unparsable, loads
from schemas.events import Event
from schemas.reasons import Reason

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_EVENTS: Final = 2500


def parse_touchpoint(
    value: bytes | None,
    *,
    record_id: str,
    sources: Mapping[str, Trust],
    received_ms: int,
    secret: bytes,
    country: str,
    max_event_bytes: int = MAX_EVENT_BYTES,
    max_events: int = MAX_EVENTS,
    admit: Callable[[Event], Event | Rejection] | None = None,
    namespaces: Namespaces = SHIPPED_NAMESPACES,
) -> list[Event | Rejection]:
    """Return one result for each event of a record; a record of one JSON object has one.

    `record_id` names the record for ever ("topic-partition-offset"). With the number of the line, or of the element of a list, it
    is the message id of an event that has none, and the `touchpoint_id` of a rejected one: so a replay makes the same events and
    the same quarantine records. `sources` are those that an event may name, with their trust; one that names none is of the source
    `server`, which is trusted unless `sources` says otherwise. `admit` decides last on each event.
    """

    def parse(call: Any, line: int, raw: bytes) -> Event | Rejection:
        line_id = f"{record_id}-{line}"
        if len(raw) > max_event_bytes:
            return Rejection(Reason.TOO_LARGE, f"{len(raw)} bytes, the limit is {max_event_bytes}", touchpoint_id=line_id, raw=raw)
        source = declared_source(call, sources)
        result = (
            source
            if isinstance(source, Rejection)
            else parse_call(
                call,
                call_type=None,
                source=source,
                trust=sources.get(source, "trusted"),
                received_ms=received_ms,
                sent_ms=None,
                secret=secret,
                country=country,
                default_id=line_id,
                namespaces=namespaces,
            )
        )
        if admit is not None and isinstance(result, Event):
            result = admit(result)
        return replace(result, touchpoint_id=line_id, raw=raw) if isinstance(result, Rejection) else result

    elements = _split((value or b"").removeprefix(b"\xef\xbb\xbf"), record_id, max_events, max_event_bytes)
    return [element if isinstance(element, Rejection) else parse(*element) for element in elements]


def _split(raw: bytes, record_id: str, max_events: int, max_event_bytes: int) -> list[tuple[Any, int, bytes] | Rejection]:
    """Return (call, number, bytes) of each element of a record, or a rejection of what cannot be decoded."""

    def reject(reason: Reason, detail: str, number: int = 0, part: bytes = raw) -> Rejection:
        return Rejection(reason, detail, touchpoint_id=f"{record_id}-{number}", raw=part)

    def decode_line(number: int, line: bytes) -> tuple[Any, int, bytes] | Rejection:
        if len(line) > max_event_bytes:
            return reject(Reason.TOO_LARGE, f"{len(line)} bytes, the limit is {max_event_bytes}", number, line)
        try:
            return loads(line), number, line
        except Unparsable:
            return reject(Reason.UNPARSABLE, "not JSON in UTF-8", number, line)

    try:
        decoded = loads(raw)
    except Unparsable:
        lines = [(number, line) for number, line in enumerate(raw.split(b"\n")) if line.strip()]
        if len(lines) <= 1:
            return [reject(Reason.UNPARSABLE, "not JSON in UTF-8")]
        if len(lines) > max_events:
            return [reject(Reason.TOO_MANY, f"{len(lines)} lines, the limit is {max_events}")]
        return [decode_line(number, line) for number, line in lines]
    if not isinstance(decoded, list):
        return [(decoded, 0, raw)]
    calls = touchpoint_calls(decoded)
    if len(calls) > max_events:
        return [reject(Reason.TOO_MANY, f"a list of {len(calls)}, the limit is {max_events}")]
    try:
        return [(call, number, encode_losslessly(call)) for number, call in enumerate(calls)]
    except RecursionError:
        return [reject(Reason.TOO_DEEP, "a list that is nested too deeply")]


def touchpoint_calls(decoded: Any) -> list[Any]:
    """Return the calls of a decoded record of `touchpoints`: the elements of a list, else the value itself."""
    return decoded if isinstance(decoded, list) and decoded else [decoded]


def declared_source(call: Any, sources: Mapping[str, Trust]) -> str | Rejection:
    """Return the source that a call on the topic names, `server` if it names none, or why it may not name it."""
    source_name = call.get("source") if isinstance(call, dict) else None
    # Whoever may write to the topic has access to Kafka, which no browser has.
    if source_name is None or source_name == SERVER_SOURCE:
        return SERVER_SOURCE
    if not isinstance(source_name, str):
        return Rejection(Reason.WRONG_TYPE, "must be text", "source")
    return (
        source_name
        if source_name in sources
        else Rejection(Reason.UNKNOWN_SOURCE, "no Source of this name has `topic_ingress: true`", "source")
    )
