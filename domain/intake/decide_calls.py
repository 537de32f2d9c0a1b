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

from domain.intake.envelope import Envelope
from domain.intake.context import STEPS, Facts, Step
from collector.problems import Problem
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.bus.port import Outgoing
from runtime.settings import Settings
from schemas.codec import encode
from schemas.events import Event
from domain.intake.parse import Rejected, parse_call
from domain.intake.values import flaw, text_of
from schemas.reasons import Reason
from schemas.records import Quarantined

STAGE: Final = "collector"
_RAW_BYTES: Final = (MAX_RECORD_BYTES - 8 * 1024) // 4 * 3
"""How many bytes fit into a quarantine record, written in base64."""
_LEAST_MS: Final = 10**11
"""A smaller number would be read as seconds."""
_MESSAGE_ID_SAID: Final = 256
"""How much of a message id an answer repeats."""


@dataclass(slots=True)
class Accepted:
    """What to write, and what to answer: `results` names the calls that were not kept."""

    records: list[Outgoing] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    results: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, record: Outgoing, rejected: Rejected, index: int, message_id: str | None) -> None:
        """Add a call, the `index`-th of its request, that goes into quarantine as `record`."""
        self.records.append(record)
        self.reasons[rejected.reason] += 1
        self.results.append(
            {"index": index, "messageId": message_id, "reason": rejected.reason.value, "path": rejected.path},
        )


class Accept:
    """Decides on calls with this deployment's settings. Every event goes through `steps`."""

    def __init__(self, settings: Settings, steps: Sequence[Step] = STEPS) -> None:
        self._settings, self._steps = settings, steps
        self._events, self._quarantine = settings.topic("events"), settings.topic("quarantine")
        self._secret, self._country = settings.tenant_secret.get_secret_value().encode(), settings.default_country

    def decide(self, envelope: Envelope, facts: Facts) -> Accepted | Problem:
        """Every call's fate. Problem: too many, too large with the batch's context in each, or nested beyond all reason."""
        if len(envelope.calls) > self._settings.collector_max_batch_events:
            return Problem.TOO_MANY
        accepted = Accepted()
        try:
            shared = len(_dumped(envelope.shared)) if envelope.shared else 0
            if shared * len(envelope.calls) > self._settings.collector_max_body_bytes:
                return Problem.TOO_LARGE
            for index in range(len(envelope.calls)):
                self._one(accepted, index, envelope.call(index), envelope, facts)
        except RecursionError:
            return Problem.UNPARSABLE
        return accepted

    def _one(self, accepted: Accepted, index: int, call: Any, envelope: Envelope, facts: Facts) -> None:
        result = self._parsed(call, len(_dumped(call)), envelope, facts)
        if isinstance(result, Event):
            accepted.records.append(Outgoing(self._events, encode(result), result.owner.encode()))
            accepted.types[result.type] += 1
            return
        given = text_of(call.get("messageId")) if isinstance(call, dict) else None
        name = _same_again(call, given, envelope.kind, facts.source) if given else uuid4().hex
        record = self.quarantined(_faithful(_standing(call, envelope, facts)), result, facts.source, facts.received_ms, name)
        sayable = given is not None and len(given) <= _MESSAGE_ID_SAID and not flaw(given)
        accepted.reject(record, result, index, given if sayable else None)

    def _parsed(self, call: Any, size: int, envelope: Envelope, facts: Facts) -> Event | Rejected:
        most = self._settings.collector_max_event_bytes
        if size > most:
            return Rejected(Reason.TOO_LARGE, f"{size} bytes, the limit is {most}")
        try:
            result = parse_call(
                call,
                kind=envelope.kind,
                source=facts.source,
                received_ms=facts.received_ms,
                sent_ms=envelope.sent_ms,
                secret=self._secret,
                country=self._country,
                default_id=uuid4().hex,
            )
            for step in self._steps:
                if isinstance(result, Rejected):
                    break
                result = step(result, facts)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug that one event meets must not cost the others of its batch
            return Rejected(Reason.POISON, type(error).__name__)
        return result

    def quarantined(self, raw: bytes, rejected: Rejected, source: str, received_ms: int, name: str = "") -> Outgoing:
        """The quarantine record of one accepted event that is none; `name` is the same when the same one comes again."""
        detail = f"{rejected.path}: {rejected.detail}" if rejected.path else rejected.detail
        if len(raw) > _RAW_BYTES:
            raw, detail = raw[:_RAW_BYTES], f"{detail}; of {len(raw)} bytes the first {_RAW_BYTES} are kept"
        record = Quarantined(
            id=f"{STAGE}-{name or uuid4().hex}",
            stage=STAGE,
            reason=rejected.reason,
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


def _standing(call: Any, envelope: Envelope, facts: Facts) -> Any:
    """A call with what only its address, its batch and its connection had said, so that it can be understood later, by itself."""
    if not isinstance(call, dict):
        return call
    made = dict(call)
    if envelope.kind is not None:
        made["type"] = envelope.kind
    if envelope.sent_ms is not None and envelope.sent_ms >= _LEAST_MS:
        made["sentAt"] = envelope.sent_ms
    context = made.get("context")
    if context is None or isinstance(context, dict):
        given = {"gpc": True} if facts.gpc else {}
        seen = {"ip": facts.ip} if facts.record_ip and facts.ip and not (context or {}).get("ip") else {}
        if given or seen:
            made["context"] = {**(context or {}), **given, **seen}
    return made


def _same_again(call: dict[str, Any], message_id: str, kind: str | None, source: str) -> str:
    """A name that a call with this message id gets again when its client, not having heard the answer, sends it again.

    Clients write a new `sentAt` each time. A call without a message id is a new one each time: two equal ones may be two events.
    """
    content = {name: value for name, value in call.items() if name != "sentAt"}
    told = json.dumps([source, kind, message_id], ensure_ascii=True).encode()
    return blake2b(told + b"\n" + _faithful(content), digest_size=16).hexdigest()


def without_key(body: Any, raw: bytes) -> bytes:
    """A body's bytes, without the write key in it: a secret must not get into quarantine."""
    if not isinstance(body, dict) or "writeKey" not in body:
        return raw
    try:
        return _faithful(body)
    except RecursionError:
        return raw


def _dumped(value: Any) -> bytes:
    """The value as JSON, fast, for its size."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _faithful(value)


def _faithful(value: Any) -> bytes:
    """The value as JSON without a write key; NaN, large integers and lone surrogates as they came. RecursionError when too deep."""
    if isinstance(value, dict) and "writeKey" in value:
        value = {name: held for name, held in value.items() if name != "writeKey"}
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
