"""What a record in quarantine becomes when it is sent again: the same, however often. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from collector.routes import webhooks as inbound
from domain.intake.decide_calls import Accept, Accepted
from domain.intake.envelope import CALLS, envelope
from domain.intake.context import STEPS, Facts
from collector.problems import Problem
from ops.quarantine.entries import Entry
from runtime.bus.port import Outgoing
from runtime.settings import Settings
from domain.intake.call_centre import CALL_TYPES
from schemas.codec import Undecodable, decode
from schemas.events import Event
from domain.intake.parse import DEFAULT_SOURCE
from domain.intake.values import Unparsable, loads
from schemas.records import Delivery, Grouped, Identity, LinkRecord, Profile, Touched, Transition
from domain.intake.admission import Admission
from domain.definitions.kinds import Source

WEBHOOK: Final = "collector-webhook-"
IMPORT: Final = "collector-import-"
KINDS: Final[Mapping[str, tuple[type[msgspec.Struct], str]]] = {
    "events": (Event, "owner"),
    "links": (LinkRecord, ""),
    "identities": (Identity, "profile_id"),
    "touched": (Touched, "profile_id"),
    "groups": (Grouped, "group_id"),
    "profiles": (Profile, "profile_id"),
    "memberships": (Transition, "profile_id"),
    "deliveries": (Delivery, "profile_id"),
}
"""Topics whose records go back to them: the schema, and the field that is the key."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a record still cannot be kept; the text quotes no value."""

    why: str


class Again:
    """Decides by these settings and definitions, as the collector and the agents would now."""

    def __init__(self, settings: Settings, sources: Iterable[Source], admission: Admission) -> None:
        self._settings = settings
        self._sources = {source.metadata.name: source for source in sources}
        self._accept = Accept(settings, (*STEPS, lambda event, _: admission.admit(event)))

    def records(self, entry: Entry, raw: bytes) -> list[Outgoing] | Refused:
        """The records to send for `raw`, the record of the entry or what was made of it."""
        if entry.stage not in ("collector", "accept"):
            return self._of_stage(entry, raw)
        if entry.id.startswith(IMPORT):
            return Refused("a row of a file: mend the file and import it again, what was kept of it is not doubled")
        try:
            call = loads(raw)
        except Unparsable:
            return Refused("not JSON in UTF-8")
        decided = self._webhook(entry, call, raw) if entry.id.startswith(WEBHOOK) else self._call(entry, call)
        if isinstance(decided, Refused):
            return decided
        if decided.results:
            first = decided.results[0]
            return Refused(f"{first['reason']}{': ' + first['path'] if first['path'] else ''}")
        return decided.records

    def _call(self, entry: Entry, body: Any) -> Accepted | Refused:
        """One call, or those of a body, received when they were. What has no message id of its own is named after the entry."""
        enclosed = envelope(CALLS, body)
        if isinstance(enclosed, Problem):
            return Refused(enclosed.value.code)
        several = len(enclosed.calls) != 1
        calls = [_named(call, f"{entry.id}-{number}" if several else entry.id) for number, call in enumerate(enclosed.calls)]
        source = entry.source or self._said(body)
        decided = self._accept.decide(replace(enclosed, calls=calls), Facts(source, entry.at_ms))
        if isinstance(decided, Problem):
            return Refused(decided.value.code)
        return decided if calls else Refused("it holds no call")

    def _said(self, call: Any) -> str:
        """The source that a touchpoint names, if it may."""
        given = call.get("source") if isinstance(call, dict) else None
        source = self._sources.get(given) if isinstance(given, str) else None
        return source.metadata.name if source is not None and source.spec.topic_ingress else DEFAULT_SOURCE

    def _webhook(self, entry: Entry, payload: Any, raw: bytes) -> Accepted | Refused:
        source = self._sources.get(entry.source)
        if source is None or source.spec.webhook is None:
            return Refused("its source has no webhook by now")
        return inbound.decide(self._accept, source.spec.webhook.mapping, payload, raw, Facts(entry.source, entry.at_ms))

    def _of_stage(self, entry: Entry, raw: bytes) -> list[Outgoing] | Refused:
        name = entry.topic.removeprefix(f"{self._settings.environment}.")
        if name == "touchpoints":
            return [Outgoing(entry.topic, raw)]
        if name not in KINDS:
            return Refused("its topic takes no records back")
        kind, field = KINDS[name]
        try:
            record = decode(kind, raw)
        except Undecodable as error:
            return Refused(str(error))
        key = getattr(record, field).encode() if field else None
        return [Outgoing(entry.topic, raw, key)]


def _named(call: Any, name: str) -> Any:
    """The call with this message id, unless it has one, or intake makes it of the id of a call in a call centre."""
    if not isinstance(call, dict) or call.get("messageId"):
        return call
    properties = call.get("properties")
    held = {**properties, **call} if isinstance(properties, dict) else call
    made_of_call = call.get("type") in CALL_TYPES and (held.get("call_id") or held.get("callId"))
    return call if made_of_call else {**call, "messageId": name}
