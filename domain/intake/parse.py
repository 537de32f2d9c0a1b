"""Intake: from Segment's calls, as clients send them, to events. Pure: what comes out depends on the arguments alone."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, cast

from domain.intake.call_centre import CALL_TYPES, BadCall, laid_out
from schemas.events import EVENT_TYPES, EVENT_VERSION, Event, EventType
from schemas.identifiers import NAMESPACE_RANK, Identifier, node, normalise, owner
from domain.intake.values import (Unparsable, flaw, instant_ms, loads, text_of)
from schemas.reasons import Reason

DEFAULT_SOURCE: Final = "default"
MAX_ID_CHARS: Final = 256
MAX_NAME_CHARS: Final = 512
MAX_EVENT_BYTES: Final = 32 * 1024
MAX_EVENTS: Final = 2500


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a call became no event. `path` names the field; nothing here quotes a value.

    `place` and `raw` are set for touchpoints alone: the id that stands for this one for ever, and its bytes.
    """

    reason: Reason
    detail: str
    path: str = ""
    place: str = ""
    raw: bytes = b""


class _Refused(Exception):
    """Carries a Rejected out of the helpers of `parse_call`."""

    def __init__(self, reason: Reason, detail: str, path: str = "") -> None:
        super().__init__(reason)
        self.rejected = Rejected(reason, detail, path)


def parse_call(
    call: Any,
    *,
    kind: str | None,
    source: str,
    received_ms: int,
    sent_ms: int | None,
    secret: bytes,
    country: str,
    default_id: str,
) -> Event | Rejected:
    """The event of one call (a decoded JSON object), or why there is none. Never raises for a JSON value.

    `kind` is the call's type when the address says it, else the call's own `type` counts. `sent_ms` is the envelope's sentAt;
    without one the call's own counts. `default_id` is the message id of a call that has none.
    """
    try:
        checked = _object(call)
        event_type = _type(checked, kind)
        if event_type in CALL_TYPES:
            checked = laid_out(checked, event_type, country)
        traits, context = _mapping(checked, "traits"), _mapping(checked, "context")
        properties = _properties(checked, event_type)
        if event_type == "identify" and isinstance(more := context.get("traits"), dict):
            traits = {**more, **traits}
        pairs, nodes = _resolve(_named(checked, event_type, traits, context), secret, country)
        return Event(
            version=EVENT_VERSION,
            id=_id(checked, default_id),
            type=event_type,
            name=_name(checked, event_type),
            source=source,
            time_ms=_time_ms(checked, received_ms, sent_ms),
            received_ms=received_ms,
            owner=nodes[pairs.index(_owner(pairs))],
            nodes=nodes,
            identifiers=pairs,
            properties=properties,
            traits=traits,
            context=context,
        )
    except _Refused as refused:
        return refused.rejected
    except BadCall as bad:
        return Rejected(bad.reason, bad.detail, bad.path)


def parse_touchpoint(
    value: bytes | None,
    *,
    place: str,
    sources: Collection[str],
    received_ms: int,
    secret: bytes,
    country: str,
    max_event_bytes: int = MAX_EVENT_BYTES,
    max_events: int = MAX_EVENTS,
    admit: Callable[[Event], Event | Rejected] | None = None,
) -> list[Event | Rejected]:
    """What one record of `touchpoints` holds: a JSON object, or several as JSON lines, each with a result of its own.

    `place` names the record for ever ("topic-partition-offset"): with the line's number it is the message id of a line that has
    none, and the `place` of a rejected one. `sources` are the names that lines may give; `default` always may be.
    `admit` has the last word on each event.
    """

    def parse(call: Any, line: int, raw: bytes) -> Event | Rejected:
        here = f"{place}-{line}"
        if len(raw) > max_event_bytes:
            return Rejected(Reason.TOO_LARGE, f"{len(raw)} bytes, the limit is {max_event_bytes}", place=here, raw=raw)
        source = _touchpoint_source(call, sources)
        result = (
            source
            if isinstance(source, Rejected)
            else parse_call(
                call,
                kind=None,
                source=source,
                received_ms=received_ms,
                sent_ms=None,
                secret=secret,
                country=country,
                default_id=here,
            )
        )
        if admit is not None and isinstance(result, Event):
            result = admit(result)
        return replace(result, place=here, raw=raw) if isinstance(result, Rejected) else result

    raw = (value or b"").removeprefix(b"\xef\xbb\xbf")
    try:
        return [parse(loads(raw), 0, raw)]
    except Unparsable:
        pass
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n")) if line.strip()]
    if len(lines) > max_events:
        return [Rejected(Reason.TOO_MANY, f"{len(lines)} lines, the limit is {max_events}", place=f"{place}-0", raw=raw)]
    if len(lines) <= 1:
        return [Rejected(Reason.UNPARSABLE, "not JSON in UTF-8", place=f"{place}-0", raw=raw)]
    results: list[Event | Rejected] = []
    for number, line in lines:
        try:
            results.append(parse(loads(line), number, line))
        except Unparsable:
            results.append(Rejected(Reason.UNPARSABLE, "not JSON in UTF-8", place=f"{place}-{number}", raw=line))
    return results


def _touchpoint_source(call: Any, sources: Collection[str]) -> str | Rejected:
    given = call.get("source") if isinstance(call, dict) else None
    if given is None or given == DEFAULT_SOURCE:
        return DEFAULT_SOURCE
    if not isinstance(given, str):
        return Rejected(Reason.WRONG_TYPE, "must be text", "source")
    return given if given in sources else Rejected(Reason.UNKNOWN_SOURCE, "no definition lets this source in", "source")


def _object(call: Any) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise _Refused(Reason.NOT_AN_OBJECT, "must be an object")
    found = flaw(call)
    if found is not None:
        raise _Refused(found.reason, f"holds {found.about}", _where(call))
    return call


def _where(call: dict[Any, Any]) -> str:
    """The field that has the flaw, if it is one of ours: other names are the client's and may be personal."""
    for field in ("properties", "traits", "context", "identifiers", "integrations"):
        if field in call and flaw({field: call[field]}) is not None:
            return field
    return ""


def _type(call: dict[str, Any], kind: str | None) -> EventType:
    found = call.get("type") if kind is None else kind
    if found is None:
        raise _Refused(Reason.MISSING_FIELD, "is missing", "type")
    if not isinstance(found, str):
        raise _Refused(Reason.WRONG_TYPE, "must be text", "type")
    if found not in EVENT_TYPES:
        raise _Refused(Reason.UNKNOWN_TYPE, f"is none of {', '.join(EVENT_TYPES)}", "type")
    return cast("EventType", found)


def _mapping(call: dict[str, Any], field: str) -> dict[str, Any]:
    value = call.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _Refused(Reason.WRONG_TYPE, "must be an object", field)
    return value


def _properties(call: dict[str, Any], event_type: EventType) -> dict[str, Any]:
    """Properties, with what Segment keeps beside them: the category of a page, the id of a group."""
    properties = _mapping(call, "properties")
    if event_type == "group":
        group = _text(call, "groupId")
        if not group:
            raise _Refused(Reason.MISSING_FIELD, "is missing", "groupId")
        return {**properties, "groupId": group}
    category = call.get("category")
    if event_type in ("page", "screen") and isinstance(category, str) and "category" not in properties:
        return {**properties, "category": category}
    return properties


def _name(call: dict[str, Any], event_type: EventType) -> str:
    if event_type not in ("track", "page", "screen"):
        return ""
    field = "event" if event_type == "track" else "name"
    value = call.get(field)
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise _Refused(Reason.WRONG_TYPE, "must be text", field)
    if event_type == "track" and not value.strip():
        raise _Refused(Reason.MISSING_FIELD, "is missing", field)
    if len(value) > MAX_NAME_CHARS:
        raise _Refused(Reason.WRONG_TYPE, f"is longer than {MAX_NAME_CHARS} characters", field)
    return value


def _text(call: dict[str, Any], field: str, path: str = "") -> str | None:
    value = call.get(field)
    if value is None:
        return None
    text = text_of(value)
    if text is None:
        raise _Refused(Reason.WRONG_TYPE, "must be text or a whole number", f"{path}{field}")
    return text


def _id(call: dict[str, Any], default_id: str) -> str:
    """The message id; a longer one than is kept becomes its hash, so that it still tells duplicates."""
    given = _text(call, "messageId")
    if not given:
        return default_id
    return given if len(given) <= MAX_ID_CHARS else hashlib.blake2b(given.encode(), digest_size=16).hexdigest()


def _time_ms(call: dict[str, Any], received_ms: int, sent_ms: int | None) -> int:
    """When it happened by our clock: received - (sent - original), as the client's clock may be wrong. Never in the future.

    Of two instants the earlier one is the original: a client may say in `timestamp` when it happened, and write beside it when it
    was told.
    """
    given = [(field, value) for field in ("originalTimestamp", "timestamp") if (value := call.get(field)) is not None]
    if not given:
        return received_ms
    instants = []
    for field, value in given:
        if (instant := instant_ms(value)) is None:
            raise _Refused(Reason.WRONG_TYPE, "must be an ISO 8601 or epoch instant from 1970 on", field)
        instants.append(instant)
    original = min(instants)
    sent = instant_ms(call.get("sentAt")) if sent_ms is None else sent_ms
    corrected = original if sent is None else received_ms - (sent - original)
    return min(corrected if corrected >= 0 else original, received_ms)


def _named(
    call: dict[str, Any], event_type: EventType, traits: dict[str, Any], context: dict[str, Any]
) -> list[tuple[str, str | None]]:
    """(namespace, raw value) of everything in the call that names somebody."""
    user = _text(call, "userId")
    named = [("user_id", user), ("anonymous_id", _text(call, "anonymousId"))]
    if event_type == "alias":
        previous = _text(call, "previousId")
        for field, value in (("userId", user), ("previousId", previous)):
            if not value:
                raise _Refused(Reason.MISSING_FIELD, "is missing", field)
        # Identified clients say an alias of themselves: it links nothing.
        if previous is not None and user is not None and previous.strip() != user.strip():
            named.append(("anonymous_id", previous))
    elif event_type == "identify":
        named += (("email", text_of(traits.get("email"))), ("phone", text_of(traits.get("phone"))))
    device = context.get("device")
    if isinstance(device, dict):
        named.append(("device_id", text_of(device.get("id"))))
    if call.get("identifiers") is not None:
        given = _mapping(call, "identifiers")
        for namespace in given:
            if namespace not in NAMESPACE_RANK:
                raise _Refused(Reason.WRONG_TYPE, f"namespaces are {', '.join(NAMESPACE_RANK)}", "identifiers")
            named.append((namespace, _text(given, namespace, "identifiers.")))
    return named


def _resolve(named: list[tuple[str, str | None]], secret: bytes, country: str) -> tuple[tuple[Identifier, ...], tuple[str, ...]]:
    """The usable identifiers in order, each once, and their nodes in the same order."""
    found = {usable for namespace, value in named if value and (usable := _usable(namespace, value, secret, country)) is not None}
    ordered = sorted(found)
    return tuple(pair for pair, _ in ordered), tuple(node_id for _, node_id in ordered)


def _owner(pairs: tuple[Identifier, ...]) -> Identifier:
    first = owner(pairs)
    if first is None:
        raise _Refused(Reason.NO_IDENTIFIER, "no usable identifier is left: send userId or anonymousId")
    return first


@lru_cache(maxsize=65_536)
def _usable(namespace: str, value: str, secret: bytes, country: str) -> tuple[Identifier, str] | None:
    """The normalised identifier and its node. Cached: the same people come again and again."""
    normalised = normalise(namespace, value, country)
    return None if normalised is None else ((namespace, normalised), node(secret, (namespace, normalised)))
