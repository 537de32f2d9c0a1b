"""What a record in quarantine becomes when it is sent again: always the same records, however often it is replayed. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import msgspec

from domain.definitions.admission_rules import touchpoint_sources
from domain.definitions.kinds import Source
from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.intake.admission import Admission
from domain.intake.context import INTAKE_STEPS, IntakeContext
from domain.intake.decide_calls import STAGE, CallIntake, IntakeLimits, IntakeOutcome
from domain.intake.decide_rows import IMPORT_ID_PREFIX
from domain.intake.envelope import CALL_CENTRE_PATH, parse_envelope, single_calls
from domain.intake.rejection import BodyProblem, Rejection
from domain.intake.touchpoints import declared_source, touchpoint_calls
from domain.intake.trust import SERVER_SOURCE, Trust
from domain.intake.values import Unparsable, loads
from domain.intake.webhook_delivery import WEBHOOK_ID_PREFIX, decide_delivery, stored_delivery
from ops.quarantine.entries import QuarantineEntry
from runtime.bus.port import Outgoing
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.settings import Settings
from schemas.codec import Undecodable, decode
from schemas.events import CALL_TYPES, Event
from schemas.records import Delivery, GroupRecord, Identity, LinkRecord, Profile, Touched, Transition, WaitingDelivery

_WEBHOOK_RECORD: Final = f"{STAGE}-{WEBHOOK_ID_PREFIX}"
_IMPORTED_ROW: Final = f"{STAGE}-{IMPORT_ID_PREFIX}"
"""The prefixes of the ids of records that the collector put into quarantine from a webhook or from a file."""
RECORD_TYPES: Final[Mapping[str, tuple[type[msgspec.Struct], str]]] = {
    "events": (Event, "key"),
    "links": (LinkRecord, ""),
    "identities": (Identity, "profile_id"),
    "touched": (Touched, "profile_id"),
    "groups": (GroupRecord, "group_id"),
    "profiles": (Profile, "profile_id"),
    "memberships": (Transition, "profile_id"),
    "deliveries": (Delivery, "profile_id"),
    "retries": (WaitingDelivery, "key"),
}
"""For each topic whose records are sent back to it, their schema and the attribute that is their key."""


@dataclass(frozen=True, slots=True)
class ReplayRefusal:
    """Why a record still cannot be stored; the text quotes no value."""

    reason: str


class ReplayDecider:
    """Decides by the given settings and definitions, as the collector and the agents would now."""

    def __init__(
        self,
        settings: Settings,
        sources: Iterable[Source],
        admission: Admission,
        namespaces: Namespaces = SHIPPED_NAMESPACES,
    ) -> None:
        self._settings = settings
        self._namespaces = namespaces
        self._sources = {source.metadata.name: source for source in sources}
        self._intake = CallIntake(
            IntakeLimits(
                max_batch_events=settings.collector_max_batch_events,
                max_event_bytes=settings.collector_max_event_bytes,
                max_body_bytes=settings.collector_max_body_bytes,
                max_record_bytes=MAX_RECORD_BYTES,
            ),
            secret=settings.tenant_key,
            country=settings.default_country,
            new_id=lambda: uuid4().hex,
            steps=(*INTAKE_STEPS, lambda event, _: admission.admit(event)),
        )

    def records(self, entry: QuarantineEntry, raw: bytes) -> list[Outgoing] | ReplayRefusal:
        """Return the records to send for `raw`, which is the entry's own record or the edited one, or the refusal."""
        if entry.stage not in ("collector", "accept"):
            return self._stage_records(entry, raw)
        if entry.id.startswith(_IMPORTED_ROW):
            return ReplayRefusal("a row of a file: mend the file and import it again, what was kept of it is not doubled")
        try:
            outcome = self._webhook(entry, raw) if entry.id.startswith(_WEBHOOK_RECORD) else self._call(entry, loads(raw))
        except Unparsable:
            return ReplayRefusal("not JSON in UTF-8")
        if isinstance(outcome, ReplayRefusal):
            return outcome
        if outcome.rejections:
            first = outcome.rejections[0]
            return ReplayRefusal(f"{first['reason']}{': ' + first['path'] if first['path'] else ''}")
        return [Outgoing(self._settings.topic(record.topic), record.value, record.key) for record in outcome.records]

    def _call(self, entry: QuarantineEntry, body: Any) -> IntakeOutcome | ReplayRefusal:
        """Decide the calls of a body by the instant of their receipt. A call without a message id gets the entry's id, numbered."""
        envelope = single_calls(touchpoint_calls(body)) if entry.stage == "accept" else parse_envelope(CALL_CENTRE_PATH, body)
        if isinstance(envelope, BodyProblem):
            return ReplayRefusal(envelope.value)
        has_several = len(envelope.calls) != 1
        calls = [
            _with_message_id(call, f"{entry.id}-{number}" if has_several else entry.id)
            for number, call in enumerate(envelope.calls)
        ]
        source = entry.source or declared_source(body, touchpoint_sources(self._sources.values()))
        if isinstance(source, Rejection):
            return ReplayRefusal(f"{source.reason}: {source.path}")
        outcome = self._intake.decide(replace(envelope, calls=calls), self._context(source, entry.at_ms))
        if isinstance(outcome, BodyProblem):
            return ReplayRefusal(outcome.value)
        return outcome if calls else ReplayRefusal("it holds no call")

    def _webhook(self, entry: QuarantineEntry, raw: bytes) -> IntakeOutcome | ReplayRefusal:
        """Map a delivery by the live mapping of its source. Raises Unparsable."""
        source = self._sources.get(entry.source)
        if source is None or source.spec.webhook is None:
            return ReplayRefusal("its source has no webhook by now")
        delivery = stored_delivery(entry.id.removeprefix(f"{STAGE}-"), raw)
        return decide_delivery(self._intake, source.spec.webhook.mapping, delivery, self._context(entry.source, entry.at_ms))

    def _context(self, source_name: str, received_ms: int) -> IntakeContext:
        """Return what holds for a call of this source, by the trust that the source has now."""
        source = self._sources.get(source_name)
        trust: Trust = "trusted" if source_name == SERVER_SOURCE else "public"
        return IntakeContext(
            source_name, received_ms, trust=trust if source is None else source.spec.trust, namespaces=self._namespaces
        )

    def _stage_records(self, entry: QuarantineEntry, raw: bytes) -> list[Outgoing] | ReplayRefusal:
        name = entry.topic.removeprefix(f"{self._settings.environment}.")
        if name == "touchpoints":
            return [Outgoing(entry.topic, raw)]
        if name not in RECORD_TYPES:
            return ReplayRefusal("its topic takes no records back")
        kind, field = RECORD_TYPES[name]
        try:
            record = decode(kind, raw)
        except Undecodable as error:
            return ReplayRefusal(str(error))
        key = getattr(record, field).encode() if field else None
        return [Outgoing(entry.topic, raw, key)]


def _with_message_id(call: Any, name: str) -> Any:
    """Return the call with this message id, unless it has one, or intake derives one from the id of a phone call."""
    if not isinstance(call, dict) or call.get("messageId"):
        return call
    properties = call.get("properties")
    fields = {**properties, **call} if isinstance(properties, dict) else call
    has_call_id = call.get("type") in CALL_TYPES and (fields.get("call_id") or fields.get("callId"))
    return call if has_call_id else {**call, "messageId": name}
