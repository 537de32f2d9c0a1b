"""What becomes of a request's calls: events, and quarantine records for those that are none. Pure but for random ids."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from uuid import uuid4

import orjson

from collector.problems import Problem
from domain.intake.context import INTAKE_STEPS, IntakeContext, IntakeStep
from domain.intake.envelope import Envelope
from domain.intake.parse import Rejection, parse_call
from domain.intake.values import find_violation, text_of
from runtime.bus.port import Outgoing
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from schemas.reasons import Reason
from schemas.records import QuarantineRecord

STAGE: Final = "collector"
_MAX_RAW_BYTES: Final = (MAX_RECORD_BYTES - 8 * 1024) // 4 * 3
"""How many bytes fit into a quarantine record, written in base64."""
_SMALLEST_MS: Final = 10**11
"""A smaller number would be read as seconds."""
_MAX_QUOTED_ID_CHARS: Final = 256
"""How much of a message id an answer repeats."""


@dataclass(slots=True)
class IntakeOutcome:
    """What to write, and what to answer: `rejections` names the calls that were not kept."""

    records: list[Outgoing] = field(default_factory=list)
    accepted_by_type: Counter[str] = field(default_factory=Counter)
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    rejections: list[dict[str, Any]] = field(default_factory=list)

    def add_rejection(self, record: Outgoing, rejection: Rejection, index: int, message_id: str | None) -> None:
        """Add a call, the `index`-th of its request, that goes into quarantine as `record`."""
        self.records.append(record)
        self.rejected_by_reason[rejection.reason] += 1
        self.rejections.append(
            {"index": index, "messageId": message_id, "reason": rejection.reason.value, "path": rejection.path},
        )


class CallIntake:
    """Decides on calls with this deployment's settings. Every event goes through `steps`."""

    def __init__(self, settings: Settings, steps: Sequence[IntakeStep] = INTAKE_STEPS) -> None:
        self._settings, self._steps = settings, steps
        self._events, self._quarantine = settings.topic("events"), settings.topic("quarantine")
        self._secret, self._country = settings.tenant_secret.get_secret_value().encode(), settings.default_country

    def decide(self, envelope: Envelope, intake_context: IntakeContext) -> IntakeOutcome | Problem:
        """Every call's fate. Problem: too many, too large with the batch's context in each, or nested beyond all reason."""
        if len(envelope.calls) > self._settings.collector_max_batch_events:
            return Problem.TOO_MANY
        outcome = IntakeOutcome()
        try:
            shared_bytes = len(_encode_fast(envelope.shared_fields)) if envelope.shared_fields else 0
            if shared_bytes * len(envelope.calls) > self._settings.collector_max_body_bytes:
                return Problem.TOO_LARGE
            for index in range(len(envelope.calls)):
                self._decide_call(outcome, index, envelope.call(index), envelope, intake_context)
        except RecursionError:
            return Problem.UNPARSABLE
        return outcome

    def _decide_call(
        self, outcome: IntakeOutcome, index: int, call: Any, envelope: Envelope, intake_context: IntakeContext
    ) -> None:
        result = self._parse(call, len(_encode_fast(call)), envelope, intake_context)
        if isinstance(result, Event):
            outcome.records.append(Outgoing(self._events, encode(result), result.owner.encode()))
            outcome.accepted_by_type[result.type] += 1
            return
        message_id = text_of(call.get("messageId")) if isinstance(call, dict) else None
        id_suffix = _retry_stable_suffix(call, message_id, envelope.call_type, intake_context.source) if message_id else uuid4().hex
        record = self.quarantine_record(
            _encode_losslessly(_self_contained(call, envelope, intake_context)),
            result,
            intake_context.source,
            intake_context.received_ms,
            id_suffix,
        )
        is_quotable = message_id is not None and len(message_id) <= _MAX_QUOTED_ID_CHARS and not find_violation(message_id)
        outcome.add_rejection(record, result, index, message_id if is_quotable else None)

    def _parse(self, call: Any, size: int, envelope: Envelope, intake_context: IntakeContext) -> Event | Rejection:
        max_bytes = self._settings.collector_max_event_bytes
        if size > max_bytes:
            return Rejection(Reason.TOO_LARGE, f"{size} bytes, the limit is {max_bytes}")
        try:
            result = parse_call(
                call,
                call_type=envelope.call_type,
                source=intake_context.source,
                received_ms=intake_context.received_ms,
                sent_ms=envelope.sent_ms,
                secret=self._secret,
                country=self._country,
                default_id=uuid4().hex,
            )
            for step in self._steps:
                if isinstance(result, Rejection):
                    break
                result = step(result, intake_context)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug that one event meets must not cost the others of its batch
            return Rejection(Reason.POISON, type(error).__name__)
        return result

    def quarantine_record(self, raw: bytes, rejection: Rejection, source: str, received_ms: int, id_suffix: str = "") -> Outgoing:
        """The quarantine record of one accepted event that is none; `id_suffix` is the same when the same one comes again."""
        detail = f"{rejection.path}: {rejection.detail}" if rejection.path else rejection.detail
        if len(raw) > _MAX_RAW_BYTES:
            raw, detail = raw[:_MAX_RAW_BYTES], f"{detail}; of {len(raw)} bytes the first {_MAX_RAW_BYTES} are kept"
        record = QuarantineRecord(
            id=f"{STAGE}-{id_suffix or uuid4().hex}",
            stage=STAGE,
            reason=rejection.reason,
            detail=detail,
            source=source,
            topic="",
            partition=-1,
            offset=-1,
            raw=base64.b64encode(raw).decode(),
            at_ms=received_ms,
            counted=True,
        )
        return Outgoing(self._quarantine, encode(record))


def _self_contained(call: Any, envelope: Envelope, intake_context: IntakeContext) -> Any:
    """A call with what only its address, its batch and its connection had said, so that it can be understood later, by itself."""
    if not isinstance(call, dict):
        return call
    standalone = dict(call)
    if envelope.call_type is not None:
        standalone["type"] = envelope.call_type
    if envelope.sent_ms is not None and envelope.sent_ms >= _SMALLEST_MS:
        standalone["sentAt"] = envelope.sent_ms
    context = standalone.get("context")
    if context is None or isinstance(context, dict):
        gpc_context = {"gpc": True} if intake_context.gpc else {}
        ip_context = (
            {"ip": intake_context.ip} if intake_context.record_ip and intake_context.ip and not (context or {}).get("ip") else {}
        )
        if gpc_context or ip_context:
            standalone["context"] = {**(context or {}), **gpc_context, **ip_context}
    return standalone


def _retry_stable_suffix(call: dict[str, Any], message_id: str, kind: str | None, source: str) -> str:
    """A name that a call with this message id gets again when its client, not having heard the answer, sends it again.

    Clients write a new `sentAt` each time. A call without a message id is a new one each time: two equal ones may be two events.
    """
    content = {name: value for name, value in call.items() if name != "sentAt"}
    identity = json.dumps([source, kind, message_id], ensure_ascii=True).encode()
    return blake2b(identity + b"\n" + _encode_losslessly(content), digest_size=16).hexdigest()


def body_without_key(body: Any, raw: bytes) -> bytes:
    """A body's bytes, without the write key in it: a secret must not get into quarantine."""
    if not isinstance(body, dict) or "writeKey" not in body:
        return raw
    try:
        return _encode_losslessly(body)
    except RecursionError:
        return raw


def _encode_fast(value: Any) -> bytes:
    """The value as JSON, fast, for its size."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _encode_losslessly(value)


def _encode_losslessly(value: Any) -> bytes:
    """The value as JSON without a write key; NaN, large integers and lone surrogates as they came. RecursionError when too deep."""
    if isinstance(value, dict) and "writeKey" in value:
        value = {name: item for name, item in value.items() if name != "writeKey"}
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
