"""Every function that reads text from outside, as a function of one text, and the texts that are hardest for such functions.

`tests/architecture/test_text_readers.py` holds that each module which takes text apart is named here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import orjson

from activation.webhook import retry_after_ms
from collector.client_address import client_address
from collector.twilio_signature import is_signed_by_twilio
from domain.definitions.kinds import InvalidDefinition, decode_definition, load_yaml
from domain.fields import parse_duration
from domain.identity.identifier_values import NormalForm, normalise_as
from domain.identity.namespaces import is_namespace_name
from domain.identity.phone_numbers import normalise_phone
from domain.identity.placeholders import is_blocked, is_placeholder_number, word_of
from domain.identity.postal_addresses import normalise_address
from domain.identity.spreadsheet_values import unwrapped, visible, without_exponent, without_zero_fraction
from domain.instants import InstantReading, check_date_format, instant_ms, read_day_or_instant
from domain.intake.call_centre import normalise_call
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeLimits
from domain.intake.durations import read_seconds
from domain.intake.email_links import verify
from domain.intake.enrichment.arrival import classify_referrer, parse_campaign, parse_click
from domain.intake.enrichment.timezones import current_name
from domain.intake.enrichment.user_agent import describe, is_bot
from domain.intake.envelope import parse_envelope
from domain.intake.import_columns import ImportKind, ImportMapping
from domain.intake.import_lines import FileRefused, detect_encoding, require_rows
from domain.intake.import_rows import read_rows
from domain.intake.plan_learning import PropertyStatistics, propose
from domain.intake.query_call import call_from_query, query_without_keys
from domain.intake.rejection import BodyProblem, CallRejected
from domain.intake.touchpoints import parse_touchpoint
from domain.intake.tracking_plan import TrackingPlanSpec
from domain.intake.tracking_plan_check import CompiledPlan
from domain.intake.values import Unparsable, find_violation, loads
from domain.intake.webhook_delivery import decode_form
from domain.intake.webhook_mapping import WebhookDelivery, map_delivery
from domain.intake.webhook_spec import MappingSpec
from domain.intake.withheld_numbers import is_withheld
from domain.letters import UnicodeForm, is_encodable, unicode_form
from domain.numbers import read_number
from domain.segments.comparisons import Comparison, ComparisonOp, holds
from domain.segments.dates import date_problem, parse_instant
from domain.segments.leaves.calendar import parse_date, zone_of
from embedded.clickhouse.form_data import with_form
from embedded.clickhouse.lexer import AmbiguousSyntax
from embedded.clickhouse.protocol import QueryRefused, QueryRequest, database_of, parse_error, parse_request, settings_of
from embedded.clickhouse.query_ids import with_client_ids
from embedded.clickhouse.statement_scan import find_values, insert_head, scan
from ops.cli.terminal import escape_controls
from ops.identity.references import is_node
from ops.quarantine.edits import RecordEdits, parse_assignment
from runtime.errors import Invalid
from runtime.logs import redact
from runtime.redaction import without_personal_data
from schemas.codec import Undecodable, decode
from schemas.events import Event
from schemas.records import LinkRecord
from schemas.write_keys import mask_write_keys
from tests.support.events import event

NOW_MS: Final = 1_750_000_000_000
Reader = Callable[[str], object]
REFUSALS: Final = (
    AmbiguousSyntax, CallRejected, FileRefused, Invalid, InvalidDefinition, QueryRefused, Undecodable, Unparsable, UnicodeEncodeError,
    msgspec.DecodeError, ValueError, RecursionError,
)  # fmt: skip
"""How readers say no."""
_LIMITS: Final = IntakeLimits(2_500, 32 * 1024, 4 << 20, 1 << 20)
_INTAKE: Final = CallIntake(_LIMITS, secret=b"s", country="VN", new_id=lambda: "id")
_CONTEXT: Final = IntakeContext(
    "default", NOW_MS, namespaces=IntakeContext("default", NOW_MS).namespaces, write_key="key-of-the-shop"
)
_FIELDS: Final = (
    "messageId", "userId", "anonymousId", "event", "timestamp", "originalTimestamp", "sentAt", "type", "previousId", "groupId",
)  # fmt: skip
_PLAN: Final = CompiledPlan(
    "default",
    TrackingPlanSpec.model_validate(
        {
            "sources": ["default"],
            "unknown_properties": "annotate",
            "events": {
                "Order": {"properties": {
                    "code": {"type": "string", "pattern": "^(a+)+$", "max_length": 9},
                    "at": {"type": "datetime"}, "total": {"type": "money", "min": 0},
                }}
            },
        }
    ),
)  # fmt: skip
_MAPPING: Final = MappingSpec.model_validate(
    {
        "rules": [
            {
                "when": {},
                "each": "$.items[*]",
                "events": [
                    {
                        "type": "track",
                        "name": "Order",
                        "identifiers": {"phone": {"path": "$.text", "as": ["phone"]}},
                        "properties": {
                            "all": "$.items[*].sku", "hash": {"path": "$.text", "as": ["hash"]}, "low": {"path": "@.sku", "as": ["lower"]},
                        },
                    }
                ],
            }
        ]
    }
)  # fmt: skip


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON, also one with lone surrogates."""
    return msgspec.json.encode(value) if is_encodable(str(value)) else orjson.dumps(str(value).encode("utf-8", "replace").decode())


def _decide(call: Any) -> object:
    envelope = parse_envelope("batch", {"batch": [call], "sentAt": "2025-06-15T10:00:00Z"})
    return envelope if isinstance(envelope, BodyProblem) else _INTAKE.decide(envelope, _CONTEXT)


def _rows(kind: ImportKind, text: str) -> object:
    return list(read_rows(kind, iter(text.splitlines(keepends=True)), ImportMapping(timezone="Asia/Ho_Chi_Minh"), now_ms=NOW_MS))


def _cells(text: str) -> str:
    return "user_id,email,phone,name,birthday,address\n" + ",".join(['"' + text.replace('"', '""') + '"'] * 6) + "\n"


def _json_lines(text: str) -> str:
    return json_bytes({"user_id": text, "time": text, "total": text, text: 1, "birthday": text}).decode() + "\n"


def _statistics(path: str) -> PropertyStatistics:
    return PropertyStatistics("Order", "properties", path, 9)


def _touchpoint(raw: bytes) -> object:
    return parse_touchpoint(raw, record_id="t-0-0", sources={}, received_ms=NOW_MS, secret=b"s", country="VN")


def _query(method: str = "GET", **headers: str) -> QueryRequest:
    return QueryRequest(method, "/", headers, (), {}, "id")


def _request(text: str) -> object:
    raw = text.encode("utf-8", "replace")
    request = parse_request({"headers": [], "query_string": raw, "method": "GET", "path": "/"}, "id")
    return settings_of(request), database_of(request)


def _form(text: str) -> object:
    body = b'--b\r\ncontent-disposition: form-data; name="query"\r\n\r\n' + text.encode("utf-8", "replace") + b"\r\n--b--"
    return with_form(_query(**{"content-type": "multipart/form-data; boundary=b"}), body)


def _form_head(text: str) -> object:
    body = b"--b\r\n" + text.encode("utf-8", "replace") + b"\r\n\r\nSELECT 1\r\n--b--"
    return with_form(_query(**{"content-type": f"multipart/form-data; boundary={text}; boundary=b"}), body)


def _comparisons(text: str) -> object:
    operations: tuple[ComparisonOp, ...] = ("eq", "ne", "contains", "starts_with", "gt")
    plain = [holds(Comparison(op=op, value=text[:100], fold=op in ("eq", "contains")), text) for op in operations]
    return plain, holds(Comparison(op="before", value="2026-11-22"), text)


def _events(text: str) -> object:
    one = event({"user_id": "u1"}, id="m1", name="Order", properties={"code": text, "at": text, "total": text, text[:200]: 1})
    return _PLAN.check(one), decode(Event, msgspec.json.encode(one))


def _normalise(form: NormalForm, text: str) -> object:
    return normalise_as(form, text, "VN")


def _decide_field(name: str, text: str) -> object:
    return _decide({"type": "track", "event": "Order", "userId": "u", name: text})


def _import_lines(text: str) -> object:
    require_rows(text)
    return detect_encoding(text.encode("utf-8", "replace"))


_UNICODE_FORMS: Final[tuple[UnicodeForm, ...]] = ("NFC", "NFD", "NFKC", "NFKD")
_FORMS: Final[tuple[NormalForm, ...]] = ("text", "lower_case", "upper_alphanumeric", "digits", "hexadecimal", "email", "phone")
READERS: Final[Mapping[str, Reader]] = {
    **{f"domain.letters {form}": partial(unicode_form, form) for form in _UNICODE_FORMS},
    "domain.numbers": read_number,
    "domain.instants": lambda text: (instant_ms(text), read_day_or_instant(text, InstantReading(day_first=True))),
    "domain.instants format": lambda text: (
        instant_ms(text, InstantReading(format="%d/%m/%Y %H:%M")),
        instant_ms(text, InstantReading(format="serial")),
    ),
    "domain.instants check": check_date_format,
    "domain.fields": parse_duration,
    "domain.intake.durations": read_seconds,
    **{f"domain.identity.identifier_values {form}": partial(_normalise, form) for form in _FORMS},
    "domain.identity.namespaces": is_namespace_name,
    "domain.identity.phone_numbers": lambda text: normalise_phone(text, "VN"),
    "domain.identity.placeholders": lambda text: (is_blocked(text), word_of(text)),
    "domain.identity.placeholders digits": lambda text: is_placeholder_number("".join(filter(str.isdigit, text)) or "0"),
    "domain.identity.postal_addresses": lambda text: (normalise_address(text), normalise_address({"street": text, "city": text})),
    "domain.identity.spreadsheet_values": lambda text: (
        visible(text),
        unwrapped(text),
        without_exponent(text),
        without_zero_fraction(text),
    ),
    "domain.intake.call_centre": lambda text: normalise_call(
        {"call_id": "c", "caller_number": text[:256], "direction": text, "talk_seconds": text, "scheduled_at": text},
        "call_ended",
        "VN",
    ),
    **{f"domain.intake.parse {name}": partial(_decide_field, name) for name in _FIELDS},
    "domain.intake.parse identify": lambda text: _decide(
        {"type": "identify", "userId": "u", "traits": {"email": text, "phone": text, text[:200]: text}}
    ),
    "domain.intake.parse nested": lambda text: _decide(
        {
            "type": "track",
            "event": "Order",
            "userId": "u",
            "properties": {text[:200]: [{text[:200]: text}]},
            "context": {text: text},
        }
    ),
    "domain.intake.enrichment.arrival": lambda text: (
        parse_campaign(f"https://a.vn/?utm_source={text}"),
        parse_click(f"https://a.vn/?gclid={text}"),
        classify_referrer(f"https://{text}", f"https://{text}/x"),
        classify_referrer(text, text),
    ),
    "domain.intake.enrichment.user_agent": lambda text: (describe(text), is_bot(text)),
    "domain.intake.enrichment.timezones": current_name,
    "domain.intake.email_links": lambda text: verify(b"k", text, NOW_MS),
    "domain.intake.import_rows customers": lambda text: _rows("customers", text),
    "domain.intake.import_rows events": lambda text: _rows("events", text),
    "domain.intake.import_rows header": lambda text: _rows("customers", f"user_id,{text}\nu1,a\n"),
    "domain.intake.import_rows cells": lambda text: _rows("customers", _cells(text)),
    "domain.intake.import_rows lines": lambda text: _rows("events", _json_lines(text)),
    "domain.intake.import_lines": _import_lines,
    "domain.intake.plan_learning": lambda text: propose("default", [("Order", 9)], [_statistics(text[:256])]),
    "domain.intake.query_call": lambda text: (
        call_from_query({"data": text}),
        call_from_query({"properties": text, f"traits.{text}": text}),
        query_without_keys(text),
    ),
    "domain.intake.touchpoints": lambda text: _touchpoint(text.encode("utf-8", "replace")),
    "domain.intake.touchpoints call": lambda text: _touchpoint(
        json_bytes({"type": "call_ended", "call_id": text, "caller_number": text})
    ),
    "domain.intake.tracking_plan_check": _events,
    "domain.intake.values": lambda text: (loads(text.encode("utf-8", "replace")), find_violation(text)),
    "domain.intake.webhook_delivery": lambda text: decode_form(text.encode("utf-8", "replace")),
    "domain.intake.webhook_mapping": lambda text: map_delivery(
        _MAPPING, WebhookDelivery({"text": text, "items": [{"sku": letter} for letter in text]}), 2_500
    ),
    "domain.intake.withheld_numbers": is_withheld,
    "domain.segments.comparisons": _comparisons,
    "domain.segments.dates": lambda text: (parse_instant(text, "Asia/Ho_Chi_Minh"), date_problem(text)),
    "domain.segments.leaves.calendar": lambda text: (parse_date(text), zone_of(text, "UTC")),
    "domain.definitions.yaml_text": lambda text: load_yaml(text, "file"),
    "domain.definitions.yaml_text value": lambda text: load_yaml(f"kind: Segment\nmetadata: {{name: {text}}}\n", "file"),
    "domain.definitions.kinds": lambda text: decode_definition(json_bytes({"kind": "Segment", "metadata": {"name": text}}), "key"),
    "schemas.codec": lambda text: decode(LinkRecord, text.encode("utf-8", "replace")),
    "schemas.write_keys": lambda text: mask_write_keys(text.encode("utf-8", "replace"), "key-of-the-shop"),
    "runtime.redaction": without_personal_data,
    "runtime.logs": lambda text: redact(None, "info", {"event": text, "deep": [{"error": text}]}),
    "collector.client_address": lambda text: client_address(text, [text, text], 2),
    "collector.twilio_signature": lambda text: is_signed_by_twilio(
        ["secret"], "signature", f"https://a.vn/?{text}", text.encode("utf-8", "replace")
    ),
    "activation.webhook": lambda text: retry_after_ms(text, NOW_MS),
    "embedded.clickhouse.lexer": lambda text: (scan(text), insert_head(text, is_complete=True)),
    "embedded.clickhouse.statement_scan": lambda text: find_values(f"INSERT INTO a VALUES {text}"),
    "embedded.clickhouse.query_ids": lambda text: with_client_ids(f"SELECT query_id FROM system.processes WHERE {text}", "default"),
    "embedded.clickhouse.protocol": lambda text: parse_error(f"Code: 62. DB::Exception: {text}", "26.9"),
    "embedded.clickhouse.protocol request": _request,
    "embedded.clickhouse.form_data": _form,
    "embedded.clickhouse.form_data head": _form_head,
    "ops.cli.terminal": escape_controls,
    "ops.identity.references": is_node,
    "ops.quarantine.edits": lambda text: (
        RecordEdits(put=(parse_assignment("a=1"),)).apply(text.encode("utf-8", "replace")),
        parse_assignment(f"{text}=1"),
    ),
}
"""Each reader by the module that it belongs to."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A text that grows by its middle: `before`, `repeated` again and again, `behind`."""

    repeated: str
    before: str = ""
    behind: str = ""

    def text(self, chars: int) -> str:
        """Return the text with about so many characters in its middle."""
        return f"{self.before}{self.repeated * max(1, chars // len(self.repeated))}{self.behind}"


_REPEATED: Final = (
    "a", "1", " ", "\t", "\n", "'", '"', "`", "=", ",", ";", ".", "-", "_", "@", "/", "\\", "(", "[", "{", "<", "%", "$", "#", "&",
    "đ", "ê\u0323", "\u0301\u0316", "\u0f73", "\uff9e\u0334", "\ufdfa", "\u200b", "a@", "a.", "1.", "1,", "1 ", "a://", "a:b@", "%40",
    "''", '""', "a\n", 'a","b\nx,y\n', '"a" ', '"a","b",', "a=1&", "writeKey=", '{"a":', "[1,", "/*", "*/", "--\n", "$$", "'a' ",
    "Code: 62. DB::Exception: ", "(version 1", "{{", "<%", "%%a", "[[", "10:00 ", "1 JAN 2020 ", "+07:00 ", "x1", "ext 1 ", "\ud800",
)  # fmt: skip
_AROUND: Final = (("", ""), ("1", "!"), ("10:00", "x"), ('"', ""), ("a@", ".vn"), ("{", "}"), ("SELECT ", ""))


def attacks() -> Iterator[Attack]:
    """Yield every attack."""
    for repeated in _REPEATED:
        for before, behind in _AROUND:
            yield Attack(repeated, before, behind)
