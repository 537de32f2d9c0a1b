"""Decide what becomes of the calls of a request: each call becomes an event, or a quarantine record that holds it whole.

The invariant is that every accepted event is accounted for: a batch of n calls makes exactly n records, on `events` or on
`quarantine`. A bug that one call meets costs that call alone: it goes into quarantine with the reason `poison`.

Example: a batch of three calls of which the second names nobody gives two records on `events`, one on `quarantine`,
`accepted_by_type == {"track": 2}` and one rejection with index 1 and the reason `no_identifier`.

Pure: the clock's time comes with the context, and ids come from the callable that the caller passes in.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from domain.intake.call_fields import is_absent_object
from domain.intake.context import INTAKE_STEPS, IntakeContext, IntakeStep
from domain.intake.envelope import Envelope
from domain.intake.parse import parse_call
from domain.intake.raw_json import encode_fast, encode_losslessly
from domain.intake.rejection import BodyProblem, Rejection
from domain.intake.values import find_violation, text_of
from schemas.codec import encode
from schemas.events import Event
from schemas.quarantine import NO_POSITION, build_quarantine_record
from schemas.reasons import Reason

STAGE: Final = "collector"
_QUARANTINE_FIELDS_BYTES: Final = 8 * 1024
"""Room in a quarantine record for everything but the raw bytes."""
_SMALLEST_MS: Final = 10**11
"""A smaller number would be read as seconds when the call is replayed."""
_MAX_QUOTED_ID_CHARS: Final = 256
"""How much of a message id an answer repeats."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """How much one request may bring. `max_record_bytes` is the largest record that the bus takes."""

    max_batch_events: int
    max_event_bytes: int
    max_body_bytes: int
    max_record_bytes: int

    @property
    def max_raw_bytes(self) -> int:
        """How many raw bytes fit into a quarantine record, where base64 makes four of three."""
        return (self.max_record_bytes - _QUARANTINE_FIELDS_BYTES) // 4 * 3


class EncodedRecord(NamedTuple):
    """A record that is ready to be published. `topic` is the topic's name without the environment's prefix."""

    topic: str
    value: bytes
    key: bytes | None = None


@dataclass(slots=True)
class IntakeOutcome:
    """What to publish for a request, and what to answer. `rejections` names the calls that went into quarantine."""

    records: list[EncodedRecord] = field(default_factory=list)
    accepted_by_type: Counter[str] = field(default_factory=Counter)
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    rejections: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """How many calls became events."""
        return self.accepted_by_type.total()

    def add_event(self, event: Event) -> None:
        """Add the event of a call. It is encoded at once, so that the outcome of a large batch does not keep its body alive."""
        self.records.append(EncodedRecord("events", encode(event), event.key.encode()))
        self.accepted_by_type[event.type] += 1

    def add_rejection(self, record: EncodedRecord, rejection: Rejection, index: int, message_id: str | None) -> None:
        """Add a call that goes into quarantine as `record`. `index` is its place among the calls of the request."""
        self.records.append(record)
        self.rejected_by_reason[rejection.reason] += 1
        self.rejections.append(
            {"index": index, "messageId": message_id, "reason": rejection.reason.value, "path": rejection.path},
        )


class CallIntake:
    """Decides on calls with the limits and the secret of one deployment. Every event passes `steps` in their order.

    `new_id` returns a random id. It is asked for calls that bring no message id of their own.
    """

    def __init__(
        self,
        limits: IntakeLimits,
        *,
        secret: bytes,
        country: str,
        new_id: Callable[[], str],
        steps: Sequence[IntakeStep] = INTAKE_STEPS,
    ) -> None:
        self.limits = limits
        self._secret = secret
        self._country = country
        self._new_id = new_id
        self._steps = steps

    def decide(self, envelope: Envelope, intake_context: IntakeContext) -> IntakeOutcome | BodyProblem:
        """Decide on every call of a body.

        Returns a problem of the whole body, and decides on none of its calls, when there are too many calls (TOO_MANY), when the
        batch's context copied into each call is larger than a body may be (TOO_LARGE), or when the nesting exhausts the stack
        (UNPARSABLE).
        """
        if len(envelope.calls) > self.limits.max_batch_events:
            return BodyProblem.TOO_MANY
        outcome = IntakeOutcome()
        try:
            # 20 kB of shared context in each of 2,500 calls would be 50 MB of events from a body of 60 kB.
            shared_bytes = len(encode_fast(envelope.shared_fields)) if envelope.shared_fields else 0
            if shared_bytes * len(envelope.calls) > self.limits.max_body_bytes:
                return BodyProblem.TOO_LARGE
            for index in range(len(envelope.calls)):
                self._decide_call(outcome, index, envelope.call(index), envelope, intake_context)
        except RecursionError:
            return BodyProblem.UNPARSABLE
        return outcome

    def reject_whole(self, raw: bytes, rejection: Rejection, intake_context: IntakeContext, id_suffix: str = "") -> IntakeOutcome:
        """Return the outcome of a body that is kept whole in quarantine. It counts as one event."""
        outcome = IntakeOutcome()
        outcome.add_rejection(self.quarantine(raw, rejection, intake_context, id_suffix), rejection, index=0, message_id=None)
        return outcome

    def quarantine(self, raw: bytes, rejection: Rejection, intake_context: IntakeContext, id_suffix: str = "") -> EncodedRecord:
        """Return the quarantine record of something that was accepted and became no event.

        `id_suffix` must be the same when the client sends the same thing again, so that both count once. Without one the record
        gets a random id. Bytes beyond what a record can hold are cut off, and the detail tells how many.
        """
        detail = f"{rejection.path}: {rejection.detail}" if rejection.path else rejection.detail
        max_raw_bytes = self.limits.max_raw_bytes
        if len(raw) > max_raw_bytes:
            raw, detail = raw[:max_raw_bytes], f"{detail}; of {len(raw)} bytes the first {max_raw_bytes} are kept"
        record = build_quarantine_record(
            STAGE,
            NO_POSITION,
            raw,
            rejection.reason,
            detail,
            record_id=f"{STAGE}-{id_suffix or self._new_id()}",
            source=intake_context.source,
            at_ms=intake_context.received_ms,
            counted=True,
            write_key=intake_context.write_key,
        )
        return EncodedRecord("quarantine", encode(record))

    def _decide_call(
        self, outcome: IntakeOutcome, index: int, call: Any, envelope: Envelope, intake_context: IntakeContext
    ) -> None:
        result = self._parse(call, len(encode_fast(call)), envelope, intake_context)
        if isinstance(result, Event):
            outcome.add_event(result)
            return
        message_id = text_of(call.get("messageId")) if isinstance(call, dict) else None
        id_suffix = _retry_stable_suffix(call, message_id, envelope.call_type, intake_context.source) if message_id else ""
        raw = encode_losslessly(_self_contained(call, envelope, intake_context))
        record = self.quarantine(raw, result, intake_context, id_suffix)
        # The answer repeats a message id so that the client finds its call, but not one that JSON or a header cannot carry.
        is_quotable = message_id is not None and len(message_id) <= _MAX_QUOTED_ID_CHARS and not find_violation(message_id)
        outcome.add_rejection(record, result, index, message_id if is_quotable else None)

    def _parse(self, call: Any, size_bytes: int, envelope: Envelope, intake_context: IntakeContext) -> Event | Rejection:
        max_bytes = self.limits.max_event_bytes
        if size_bytes > max_bytes:
            return Rejection(Reason.TOO_LARGE, f"{size_bytes} bytes, the limit is {max_bytes}")
        try:
            result = parse_call(
                call,
                call_type=envelope.call_type,
                source=intake_context.source,
                trust=intake_context.trust,
                received_ms=intake_context.received_ms,
                sent_ms=envelope.sent_ms,
                secret=self._secret,
                country=self._country,
                default_id=self._new_id(),
                namespaces=intake_context.namespaces,
            )
            for step in self._steps:
                if isinstance(result, Rejection):
                    break
                result = step(result, intake_context)
        except RecursionError:
            raise  # the whole body is nested too deeply: `decide` refuses it
        except Exception as error:  # noqa: BLE001 - a bug that one event meets must not cost the others of its batch
            return Rejection(Reason.POISON, type(error).__name__)
        return result


def _self_contained(call: Any, envelope: Envelope, intake_context: IntakeContext) -> Any:
    """Return a call with what only its address, its batch and its connection declared, so that it can be replayed by itself."""
    if not isinstance(call, dict):
        return call
    standalone = dict(call)
    if envelope.call_type is not None:
        standalone["type"] = envelope.call_type
    if envelope.sent_ms is not None and envelope.sent_ms >= _SMALLEST_MS:
        standalone["sentAt"] = envelope.sent_ms
    context = standalone.get("context")
    if is_absent_object(context) or isinstance(context, dict):
        gpc_context = {"gpc": True} if intake_context.gpc else {}
        ip_context = (
            {"ip": intake_context.ip} if intake_context.record_ip and intake_context.ip and not (context or {}).get("ip") else {}
        )
        if gpc_context or ip_context:
            standalone["context"] = {**(context or {}), **gpc_context, **ip_context}
    return standalone


def _retry_stable_suffix(call: dict[str, Any], message_id: str, kind: str | None, source: str) -> str:
    """Return an id that the same call gets again when its client did not hear the answer and sends it once more.

    Clients write a new `sentAt` for each attempt, so it is left out. A call without a message id gets no stable id: two equal calls
    may be two events.
    """
    content = {name: value for name, value in call.items() if name != "sentAt"}
    identity = json.dumps([source, kind, message_id], ensure_ascii=True).encode()
    return blake2b(identity + b"\n" + encode_losslessly(content), digest_size=16).hexdigest()
