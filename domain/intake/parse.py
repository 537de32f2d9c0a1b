"""Turn one call, as clients of Segment's API send it, into an event. Pure: the result depends on the arguments alone.

The same call with the same arguments always makes the same event, byte for byte. So a replay makes no second event, and the
collector, the accept agent and the replay of the quarantine agree.

Example: a client whose clock is 90 s fast sends `timestamp` 12:01:20 and `sentAt` 12:01:30. The collector receives the call at
12:00:00, so the event happened 10 s earlier, at 11:59:50.
"""

import hashlib
from typing import Any, Final, cast

from domain.identity.identifier_values import normalise
from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.instants import INSTANT_RULE, instant_ms
from domain.intake.call_centre import normalise_call
from domain.intake.call_fields import is_absent_value, optional_object, optional_text
from domain.intake.rejection import CallRejected, Rejection
from domain.intake.trust import Trust, find_refusal
from domain.intake.values import find_violation, text_of
from domain.intake.withheld_numbers import is_withheld
from schemas.event_limits import find_excess
from schemas.events import CALL_TYPES, EVENT_TYPES, EVENT_VERSION, NOBODY, PREVIOUS_ID, Event, EventType
from schemas.identifiers import Identifier
from schemas.reasons import Reason

MAX_ID_CHARS: Final = 256
MAX_NAME_CHARS: Final = 512
_NAMED_FIELDS: Final = (
    "properties", "traits", "context", "identifiers", "integrations", "userId", "anonymousId", "previousId", "groupId", "messageId",
)  # fmt: skip
"""Fields of the API whose name an answer may repeat."""


def parse_call(
    call: Any,
    *,
    call_type: str | None,
    source: str,
    trust: Trust,
    received_ms: int,
    sent_ms: int | None,
    secret: bytes,
    country: str,
    default_id: str,
    namespaces: Namespaces = SHIPPED_NAMESPACES,
) -> Event | Rejection:
    """Return the event of one call (a decoded JSON object), or its rejection. Never raises for a JSON value.

    `call_type` is the type that the address gives; when it is None the call's own `type` counts. `trust` is that of the source: a
    public one may not send everything (`domain.intake.trust`). `sent_ms` is the `sentAt` of the
    batch; when it is None the call's own counts. `default_id` becomes the message id of a call that has none.
    """
    try:
        valid_call = _require_object(call)
        event_type = _event_type(valid_call, call_type)
        if event_type in CALL_TYPES:
            valid_call = normalise_call(valid_call, event_type, country)
        traits, context = optional_object(valid_call, "traits"), optional_object(valid_call, "context")
        properties = _properties(valid_call, event_type)
        if event_type == "identify" and isinstance(context_traits := context.get("traits"), dict):
            traits = {**context_traits, **traits}
        candidates = _identifier_candidates(valid_call, event_type, traits, context, namespaces)
        identifiers, nodes = _resolve_identifiers(candidates, namespaces, secret, country)
        _require_bounded(traits, identifiers)
        owner = namespaces.pick_owner(identifiers)
        event = Event(
            version=EVENT_VERSION,
            id=_message_id(valid_call, default_id),
            type=event_type,
            name=_event_name(valid_call, event_type),
            source=source,
            time_ms=_time_ms(valid_call, received_ms, sent_ms),
            received_ms=received_ms,
            owner=nodes[identifiers.index(owner)] if owner is not None else _nobody(event_type, properties),
            nodes=nodes,
            identifiers=identifiers,
            properties=properties,
            traits=traits,
            context=context,
            trusted=trust == "trusted",
        )
        return find_refusal(event) or event
    except CallRejected as error:
        return error.rejection


def _require_object(call: Any) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise CallRejected(Reason.NOT_AN_OBJECT, "must be an object")
    violation = find_violation(call)
    if violation is not None:
        raise CallRejected(violation.reason, f"holds {violation.description}", _violating_field(call))
    return call


def _require_bounded(traits: dict[str, Any], identifiers: tuple[Identifier, ...]) -> None:
    """Raise CallRejected for more traits, a larger trait or more identifiers than one event may have."""
    if (excess := find_excess(traits, len(identifiers))) is not None:
        raise CallRejected(excess.reason, excess.detail, excess.path)


def _violating_field(call: dict[Any, Any]) -> str:
    """Return the field with the violation if the API names it. Any other name is the client's own and may be personal."""
    for field in _NAMED_FIELDS:
        if field in call and find_violation({field: call[field]}) is not None:
            return field
    return ""


def _event_type(call: dict[str, Any], call_type: str | None) -> EventType:
    type_name = call.get("type") if call_type is None else call_type
    if type_name is None:
        raise CallRejected(Reason.MISSING_FIELD, "is missing", "type")
    if not isinstance(type_name, str):
        raise CallRejected(Reason.WRONG_TYPE, "must be text", "type")
    if type_name not in EVENT_TYPES:
        raise CallRejected(Reason.UNKNOWN_TYPE, f"must be one of {', '.join(EVENT_TYPES)}", "type")
    return cast("EventType", type_name)


def _properties(call: dict[str, Any], event_type: EventType) -> dict[str, Any]:
    """Return the properties, with what Segment keeps beside them: a page's category, a group's id, an alias's previous id."""
    properties = optional_object(call, "properties")
    if event_type == "group":
        group = optional_text(call, "groupId")
        if not group:
            raise CallRejected(Reason.MISSING_FIELD, "is missing", "groupId")
        return {**properties, "groupId": group}
    if event_type == "alias":
        previous_id = optional_text(call, PREVIOUS_ID)
        if not previous_id:
            raise CallRejected(Reason.MISSING_FIELD, "is missing", PREVIOUS_ID)
        # No identifier of this event: only other events can tell whether it is a user id or an anonymous id.
        return {**properties, PREVIOUS_ID: normalise("user_id", previous_id, "") or previous_id}
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
        raise CallRejected(Reason.WRONG_TYPE, "must be text", field)
    if event_type == "track" and not value.strip():
        raise CallRejected(Reason.MISSING_FIELD, "is missing", field)
    if len(value) > MAX_NAME_CHARS:
        raise CallRejected(Reason.WRONG_TYPE, f"is longer than {MAX_NAME_CHARS} characters", field)
    return value


def _message_id(call: dict[str, Any], default_id: str) -> str:
    """Return the message id. One that is too long becomes its hash, so that duplicates are still found."""
    message_id = optional_text(call, "messageId")
    if not message_id:
        return default_id
    return message_id if len(message_id) <= MAX_ID_CHARS else hashlib.blake2b(message_id.encode(), digest_size=16).hexdigest()


def _time_ms(call: dict[str, Any], received_ms: int, sent_ms: int | None) -> int:
    """Return when the event happened by our clock, never after `received_ms`.

    A client's clock may be wrong, but its error is the same for both of its instants. So the time is received - (sent - original),
    as Segment computes it. When that lies before 1970 the client's own instant is used instead. Of `originalTimestamp` and
    `timestamp` the earlier counts; a blank text is no time, as if the field were absent.
    """
    client_times = [(field, value) for field in ("originalTimestamp", "timestamp") if not is_absent_value(value := call.get(field))]
    if not client_times:
        return received_ms
    instants_ms = []
    for field, value in client_times:
        if (at_ms := instant_ms(value)) is None:
            raise CallRejected(Reason.WRONG_TYPE, INSTANT_RULE, field)
        instants_ms.append(at_ms)
    # A client may write in `timestamp` when it happened and in `originalTimestamp` when it was called, or the other way round.
    original_ms = min(instants_ms)
    client_sent_ms = instant_ms(call.get("sentAt")) if sent_ms is None else sent_ms
    corrected_ms = original_ms if client_sent_ms is None else received_ms - (client_sent_ms - original_ms)
    return min(corrected_ms if corrected_ms >= 0 else original_ms, received_ms)


def _identifier_candidates(
    call: dict[str, Any], event_type: EventType, traits: dict[str, Any], context: dict[str, Any], namespaces: Namespaces
) -> list[tuple[str, str | None]]:
    """Return (namespace, raw value) of everything in the call that names somebody."""
    user_id = optional_text(call, "userId")
    candidates = [("user_id", user_id), ("anonymous_id", optional_text(call, "anonymousId"))]
    if event_type == "alias":
        if not user_id:
            raise CallRejected(Reason.MISSING_FIELD, "is missing", "userId")
    elif event_type == "identify":
        candidates += (("email", text_of(traits.get("email"))), ("phone", text_of(traits.get("phone"))))
    device = context.get("device")
    if isinstance(device, dict):
        candidates.append(("device_id", text_of(device.get("id"))))
    if call.get("identifiers") is not None:
        identifiers = optional_object(call, "identifiers")
        for namespace in identifiers:
            if namespace not in namespaces:
                detail = f"namespaces are {', '.join(namespaces.names)}: declare others in the identity rules"
                raise CallRejected(Reason.WRONG_TYPE, detail, "identifiers")
            candidates.append((namespace, optional_text(identifiers, namespace, "identifiers.")))
    return candidates


def _resolve_identifiers(
    candidates: list[tuple[str, str | None]], namespaces: Namespaces, secret: bytes, country: str
) -> tuple[tuple[Identifier, ...], tuple[str, ...]]:
    """Return the usable identifiers, sorted and each once, and their nodes in the same order."""
    usable_pairs = {
        identifier_and_node
        for namespace, value in candidates
        if value
        and not (namespace == "caller_number" and is_withheld(value))
        and (identifier_and_node := namespaces.identify(namespace, value, secret, country)) is not None
    }
    # Sorted, so that equal calls make equal events whatever the order of their fields.
    ordered = sorted(usable_pairs)
    return tuple(pair for pair, _ in ordered), tuple(node_id for _, node_id in ordered)


def _nobody(event_type: EventType, properties: dict[str, Any]) -> str:
    """Return NOBODY for a phone call whose caller is unknown. Raises CallRejected for any other event.

    A call happened, and was answered or missed, also when its caller withheld the number.
    """
    if event_type in CALL_TYPES and "call_id" in properties:
        return NOBODY
    raise CallRejected(Reason.NO_IDENTIFIER, "no usable identifier is left: send userId or anonymousId")
