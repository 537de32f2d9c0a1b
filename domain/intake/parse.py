"""Intake: from Segment's calls, as clients send them, to events. Pure: what comes out depends on the arguments alone."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, cast

from domain.intake.call_centre import InvalidCall, normalise_call
from domain.intake.values import Unparsable, find_violation, instant_ms, loads, text_of
from schemas.events import CALL_TYPES, EVENT_TYPES, EVENT_VERSION, Event, EventType
from schemas.identifiers import NAMESPACE_RANK, Identifier, node, normalise, pick_owner
from schemas.reasons import Reason

DEFAULT_SOURCE: Final = "default"
MAX_ID_CHARS: Final = 256
MAX_NAME_CHARS: Final = 512
MAX_EVENT_BYTES: Final = 32 * 1024
MAX_EVENTS: Final = 2500


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a call became no event. `path` names the field; nothing here quotes a value.

    `place` and `raw` are set for touchpoints alone: the id that stands for this one for ever, and its bytes.
    """

    reason: Reason
    detail: str
    path: str = ""
    touchpoint_id: str = ""
    raw: bytes = b""


class _CallRejected(Exception):
    """Carries a Rejected out of the helpers of `parse_call`."""

    def __init__(self, reason: Reason, detail: str, path: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, detail, path)


def parse_call(
    call: Any,
    *,
    call_type: str | None,
    source: str,
    received_ms: int,
    sent_ms: int | None,
    secret: bytes,
    country: str,
    default_id: str,
) -> Event | Rejection:
    """The event of one call (a decoded JSON object), or why there is none. Never raises for a JSON value.

    `call_type` is the call's type when the address says it, else the call's own `type` counts. `sent_ms` is the envelope's sentAt;
    without one the call's own counts. `default_id` is the message id of a call that has none.
    """
    try:
        valid_call = _require_object(call)
        event_type = _event_type(valid_call, call_type)
        if event_type in CALL_TYPES:
            valid_call = normalise_call(valid_call, event_type, country)
        traits, context = _optional_object(valid_call, "traits"), _optional_object(valid_call, "context")
        properties = _properties(valid_call, event_type)
        if event_type == "identify" and isinstance(context_traits := context.get("traits"), dict):
            traits = {**context_traits, **traits}
        identifiers, nodes = _resolve_identifiers(_identifier_candidates(valid_call, event_type, traits, context), secret, country)
        return Event(
            version=EVENT_VERSION,
            id=_message_id(valid_call, default_id),
            type=event_type,
            name=_event_name(valid_call, event_type),
            source=source,
            time_ms=_time_ms(valid_call, received_ms, sent_ms),
            received_ms=received_ms,
            owner=nodes[identifiers.index(_require_owner(identifiers))],
            nodes=nodes,
            identifiers=identifiers,
            properties=properties,
            traits=traits,
            context=context,
        )
    except _CallRejected as error:
        return error.rejection
    except InvalidCall as error:
        return Rejection(error.reason, error.detail, error.path)


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
    """What one record of `touchpoints` holds: a JSON object, or several as JSON lines, each with a result of its own.

    `record_id` names the record for ever ("topic-partition-offset"): with the line's number it is the message id of a line that has
    none, and the `touchpoint_id` of a rejected one. `sources` are the names that lines may give; `default` always may be.
    `admit` has the last word on each event.
    """

    def parse(call: Any, line: int, raw: bytes) -> Event | Rejection:
        line_id = f"{record_id}-{line}"
        if len(raw) > max_event_bytes:
            return Rejection(Reason.TOO_LARGE, f"{len(raw)} bytes, the limit is {max_event_bytes}", touchpoint_id=line_id, raw=raw)
        source = _touchpoint_source(call, sources)
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


def _touchpoint_source(call: Any, sources: Collection[str]) -> str | Rejection:
    source_name = call.get("source") if isinstance(call, dict) else None
    if source_name is None or source_name == DEFAULT_SOURCE:
        return DEFAULT_SOURCE
    if not isinstance(source_name, str):
        return Rejection(Reason.WRONG_TYPE, "must be text", "source")
    return (
        source_name if source_name in sources else Rejection(Reason.UNKNOWN_SOURCE, "no definition lets this source in", "source")
    )


def _require_object(call: Any) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise _CallRejected(Reason.NOT_AN_OBJECT, "must be an object")
    violation = find_violation(call)
    if violation is not None:
        raise _CallRejected(violation.reason, f"holds {violation.description}", _violating_field(call))
    return call


def _violating_field(call: dict[Any, Any]) -> str:
    """The field that has the flaw, if it is one of ours: other names are the client's and may be personal."""
    for field in ("properties", "traits", "context", "identifiers", "integrations"):
        if field in call and find_violation({field: call[field]}) is not None:
            return field
    return ""


def _event_type(call: dict[str, Any], call_type: str | None) -> EventType:
    type_name = call.get("type") if call_type is None else call_type
    if type_name is None:
        raise _CallRejected(Reason.MISSING_FIELD, "is missing", "type")
    if not isinstance(type_name, str):
        raise _CallRejected(Reason.WRONG_TYPE, "must be text", "type")
    if type_name not in EVENT_TYPES:
        raise _CallRejected(Reason.UNKNOWN_TYPE, f"is none of {', '.join(EVENT_TYPES)}", "type")
    return cast("EventType", type_name)


def _optional_object(call: dict[str, Any], field: str) -> dict[str, Any]:
    value = call.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _CallRejected(Reason.WRONG_TYPE, "must be an object", field)
    return value


def _properties(call: dict[str, Any], event_type: EventType) -> dict[str, Any]:
    """Properties, with what Segment keeps beside them: the category of a page, the id of a group."""
    properties = _optional_object(call, "properties")
    if event_type == "group":
        group = _optional_text(call, "groupId")
        if not group:
            raise _CallRejected(Reason.MISSING_FIELD, "is missing", "groupId")
        return {**properties, "groupId": group}
    category = call.get("category")
    if event_type in ("page", "screen") and isinstance(category, str) and "category" not in properties:
        return {**properties, "category": category}
    return properties


def _event_name(call: dict[str, Any], event_type: EventType) -> str:
    if event_type not in ("track", "page", "screen"):
        return ""
    field = "event" if event_type == "track" else "name"
    value = call.get(field)
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise _CallRejected(Reason.WRONG_TYPE, "must be text", field)
    if event_type == "track" and not value.strip():
        raise _CallRejected(Reason.MISSING_FIELD, "is missing", field)
    if len(value) > MAX_NAME_CHARS:
        raise _CallRejected(Reason.WRONG_TYPE, f"is longer than {MAX_NAME_CHARS} characters", field)
    return value


def _optional_text(call: dict[str, Any], field: str, path: str = "") -> str | None:
    value = call.get(field)
    if value is None:
        return None
    text = text_of(value)
    if text is None:
        raise _CallRejected(Reason.WRONG_TYPE, "must be text or a whole number", f"{path}{field}")
    return text


def _message_id(call: dict[str, Any], default_id: str) -> str:
    """The message id; a longer one than is kept becomes its hash, so that it still tells duplicates."""
    message_id = _optional_text(call, "messageId")
    if not message_id:
        return default_id
    return message_id if len(message_id) <= MAX_ID_CHARS else hashlib.blake2b(message_id.encode(), digest_size=16).hexdigest()


def _time_ms(call: dict[str, Any], received_ms: int, sent_ms: int | None) -> int:
    """When it happened by our clock: received - (sent - original), as the client's clock may be wrong. Never in the future.

    Of two instants the earlier one is the original: a client may say in `timestamp` when it happened, and write beside it when it
    was told.
    """
    client_times = [(field, value) for field in ("originalTimestamp", "timestamp") if (value := call.get(field)) is not None]
    if not client_times:
        return received_ms
    instants_ms = []
    for field, value in client_times:
        if (at_ms := instant_ms(value)) is None:
            raise _CallRejected(Reason.WRONG_TYPE, "must be an ISO 8601 or epoch instant from 1970 on", field)
        instants_ms.append(at_ms)
    original_ms = min(instants_ms)
    client_sent_ms = instant_ms(call.get("sentAt")) if sent_ms is None else sent_ms
    corrected_ms = original_ms if client_sent_ms is None else received_ms - (client_sent_ms - original_ms)
    return min(corrected_ms if corrected_ms >= 0 else original_ms, received_ms)


def _identifier_candidates(
    call: dict[str, Any], event_type: EventType, traits: dict[str, Any], context: dict[str, Any]
) -> list[tuple[str, str | None]]:
    """(namespace, raw value) of everything in the call that names somebody."""
    user_id = _optional_text(call, "userId")
    candidates = [("user_id", user_id), ("anonymous_id", _optional_text(call, "anonymousId"))]
    if event_type == "alias":
        previous_id = _optional_text(call, "previousId")
        for field, value in (("userId", user_id), ("previousId", previous_id)):
            if not value:
                raise _CallRejected(Reason.MISSING_FIELD, "is missing", field)
        # Identified clients say an alias of themselves: it links nothing.
        if previous_id is not None and user_id is not None and previous_id.strip() != user_id.strip():
            candidates.append(("anonymous_id", previous_id))
    elif event_type == "identify":
        candidates += (("email", text_of(traits.get("email"))), ("phone", text_of(traits.get("phone"))))
    device = context.get("device")
    if isinstance(device, dict):
        candidates.append(("device_id", text_of(device.get("id"))))
    if call.get("identifiers") is not None:
        identifiers = _optional_object(call, "identifiers")
        for namespace in identifiers:
            if namespace not in NAMESPACE_RANK:
                raise _CallRejected(Reason.WRONG_TYPE, f"namespaces are {', '.join(NAMESPACE_RANK)}", "identifiers")
            candidates.append((namespace, _optional_text(identifiers, namespace, "identifiers.")))
    return candidates


def _resolve_identifiers(
    candidates: list[tuple[str, str | None]], secret: bytes, country: str
) -> tuple[tuple[Identifier, ...], tuple[str, ...]]:
    """The usable identifiers in order, each once, and their nodes in the same order."""
    usable_pairs = {
        identifier_and_node
        for namespace, value in candidates
        if value and (identifier_and_node := _normalise_and_hash(namespace, value, secret, country)) is not None
    }
    ordered = sorted(usable_pairs)
    return tuple(pair for pair, _ in ordered), tuple(node_id for _, node_id in ordered)


def _require_owner(identifiers: tuple[Identifier, ...]) -> Identifier:
    owner = pick_owner(identifiers)
    if owner is None:
        raise _CallRejected(Reason.NO_IDENTIFIER, "no usable identifier is left: send userId or anonymousId")
    return owner


@lru_cache(maxsize=65_536)
def _normalise_and_hash(namespace: str, value: str, secret: bytes, country: str) -> tuple[Identifier, str] | None:
    """The normalised identifier and its node. Cached: the same people come again and again."""
    normalised = normalise(namespace, value, country)
    return None if normalised is None else ((namespace, normalised), node(secret, (namespace, normalised)))
