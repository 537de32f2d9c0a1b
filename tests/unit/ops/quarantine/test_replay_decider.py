"""Records in quarantine are repaired by rules and sent again the way they arrived, with the same result every time."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import Source, load_yaml
from domain.intake.admission import Admission
from ops.quarantine.edits import RecordEdits, parse_assignment, parse_rename
from ops.quarantine.entries import QuarantineEntry
from ops.quarantine.replay_decider import ReplayDecider, ReplayRefusal
from ops.webhooks.catalogue import SampleRequest, samples_of
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.events import NOBODY, Event
from schemas.records import QuarantineRecord, Touched
from streams.steps.accept import AcceptStep
from tests.support.collector_harness import collector_harness
from tests.support.events import event
from tests.support.webhook_sources import shipped_source, signed_headers

SETTINGS = Settings()
AT_MS = 1_750_000_000_000


def replay_decider() -> ReplayDecider:
    [source] = load_yaml(
        "{apiVersion: onefold/v1, kind: Source, metadata: {name: tổng-đài}, spec: {trust: trusted, topic_ingress: true}}".replace(
            "tổng-đài", "call-centre"
        ),
        "test",
    )
    assert isinstance(source, Source)
    return ReplayDecider(SETTINGS, [source], Admission())


def entry(
    raw: Any, *, stage: str = "collector", topic: str = "", name: str = "collector-1", source: str = "server"
) -> QuarantineEntry:
    content = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return QuarantineEntry(name, stage, "missing_field", "", source, topic, 0, 7, AT_MS, True, "open", "", "", content)


def sent(outcome: Any) -> Event:
    assert not isinstance(outcome, ReplayRefusal), outcome
    [outgoing] = outcome
    return decode(Event, outgoing.value)


def test_a_call_that_was_mended_becomes_an_event_received_when_it_was() -> None:
    broken = entry({"type": "track", "userId": "u1", "properties": {"tổng": 5}})
    assert isinstance(replay_decider().records(broken, broken.raw), ReplayRefusal)
    mended = RecordEdits(put=(("event", "Đặt hàng"),), rename=(("properties.tổng", "properties.total"),)).apply(broken.raw)
    replayed = sent(replay_decider().records(broken, mended))
    assert replayed.name == "Đặt hàng"
    assert replayed.received_ms == AT_MS
    assert replayed.time_ms == AT_MS
    assert replayed.properties == {"total": 5}
    assert replayed.id == "collector-1"
    assert replay_decider().records(broken, mended) == replay_decider().records(broken, mended)


def test_a_touchpoint_speaks_for_the_source_that_it_names() -> None:
    call = {"type": "track", "event": "Called", "userId": "u1", "source": "call-centre", "messageId": "m"}
    replayed = sent(
        replay_decider().records(entry(call, stage="accept", topic="onefold.touchpoints", source=""), json.dumps(call).encode())
    )
    assert replayed.source == "call-centre"
    assert replayed.id == "m"
    unnamed = {name: value for name, value in call.items() if name != "source"}
    replayed = sent(replay_decider().records(entry(unnamed, stage="accept", source=""), json.dumps(unnamed).encode()))
    assert (replayed.source, replayed.trusted) == ("server", True)
    unknown = {**call, "source": "nobody"}
    refused = replay_decider().records(entry(unknown, stage="accept", source=""), json.dumps(unknown).encode())
    assert refused == ReplayRefusal("unknown_source: source")


def test_a_call_that_a_public_source_may_not_send_is_replayed_once_its_source_is_trusted() -> None:
    call = json.dumps({"type": "track", "event": "Seen", "identifiers": {"crm_id": "CRM-1"}}).encode()
    refused = replay_decider().records(entry(call, source="website"), call)
    assert refused == ReplayRefusal("untrusted_source: identifiers.crm_id")
    assert sent(replay_decider().records(entry(call, source="call-centre"), call)).trusted


@pytest.mark.parametrize("body", [{"batch": [{"type": "track", "event": "Gọi", "userId": "u1"}]}, {"batch": []}])
def test_touchpoint_that_the_topic_would_refuse_is_refused_again(body: Any) -> None:
    raw = json.dumps(body).encode()
    assert isinstance(replay_decider().records(entry(raw, stage="accept", source=""), raw), ReplayRefusal)


@pytest.mark.parametrize("stage", ["collector", "accept"])
def test_call_with_a_withheld_number_that_was_quarantined_once_is_stored_as_nobodys(stage: str) -> None:
    raw = json.dumps({"type": "call_started", "call_id": "c-1", "caller_number": "anonymous"}).encode()
    outcome = replay_decider().records(entry(raw, stage=stage), raw)
    assert sent(outcome).owner == NOBODY
    assert not isinstance(outcome, ReplayRefusal)
    assert [outgoing.key for outgoing in outcome] == [b"c-1:call_started"]


def test_replay_accepts_the_lists_that_the_topic_accepts() -> None:
    calls = [{"type": "track", "event": "Gọi", "userId": f"u{n}"} for n in range(2)]
    raw = json.dumps(calls).encode()
    outcome = replay_decider().records(entry(raw, stage="accept", source=""), raw)
    assert not isinstance(outcome, ReplayRefusal)
    assert [decode(Event, outgoing.value).identifiers for outgoing in outcome] == [(("user_id", "u0"),), (("user_id", "u1"),)]


@pytest.mark.parametrize(("topic", "record", "key"), [
    ("events", event({"user_id": "u1"}, id="m1", name="Xem"), event({"user_id": "u1"}, id="m1").owner),
    ("touched", Touched(profile_id="0a", node="0a", cause="event", at_ms=1), "0a"),
])  # fmt: skip
def test_records_of_the_other_stages_go_back_to_their_topic(topic: str, record: Any, key: str) -> None:
    raw = encode(record)
    outcome = replay_decider().records(entry(raw, stage="unify", topic=f"onefold.{topic}"), raw)
    assert not isinstance(outcome, ReplayRefusal)
    assert [(outgoing.topic, outgoing.key, outgoing.value) for outgoing in outcome] == [(f"onefold.{topic}", key.encode(), raw)]
    assert isinstance(replay_decider().records(entry(b"{", stage="unify", topic=f"onefold.{topic}"), b"{"), ReplayRefusal)


def test_rows_of_files_are_left_to_the_file() -> None:
    assert isinstance(replay_decider().records(entry(b"a,b", name="collector-import-1"), b"a,b"), ReplayRefusal)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(min_size=1), inner), max_leaves=8))
def test_any_record_is_sent_again_or_refused(value: Any) -> None:
    raw = json.dumps(value).encode()
    for stage in ("collector", "accept", "unify"):
        assert replay_decider().records(entry(raw, stage=stage, topic="onefold.events"), raw)


@pytest.mark.parametrize("stage", ["collector", "accept"])
async def test_records_quarantined_by_each_stage_can_be_fixed(stage: str) -> None:
    call = {"userId": "u1", "messageId": "m1", "properties": {"a": 1}}
    if stage == "collector":
        async with collector_harness() as collector:  # the address alone says the type
            assert (await collector.post("/v1/track", call)).status_code == 200
            [(record_in_quarantine, _)] = await collector.quarantined()
    else:
        record = Record("onefold.touchpoints", 0, 3, AT_MS, None, json.dumps({**call, "type": "track"}).encode())
        outcome = await AcceptStep(SETTINGS, dict).run(TopicPartition("touchpoints", 0, 1), [record], AT_MS)
        record_in_quarantine = decode(QuarantineRecord, outcome.produce[0].value)
    raw = base64.b64decode(record_in_quarantine.raw)
    quarantine_entry = QuarantineEntry(
        record_in_quarantine.id,
        record_in_quarantine.stage,
        record_in_quarantine.reason,
        record_in_quarantine.detail,
        record_in_quarantine.source,
        record_in_quarantine.topic,
        0,
        0,
        record_in_quarantine.at_ms,
        True,
        "open",
        "",
        "",
        raw,
    )
    replayed = sent(replay_decider().records(quarantine_entry, RecordEdits(put=(("event", "Mua"),)).apply(raw)))
    assert replayed.type == "track"
    assert replayed.name == "Mua"
    assert replayed.id == "m1"
    assert replayed.properties == {"a": 1}


def test_edits_read_json_or_text_and_say_what_is_wrong() -> None:
    assert parse_assignment("a.b=5") == ("a.b", 5)
    assert parse_assignment("a=Nguyễn") == ("a", "Nguyễn")
    assert parse_rename("a = b.c") == ("a", "b.c")
    for text in ("a", "=5"):
        with pytest.raises(Invalid):
            parse_assignment(text)
    with pytest.raises(Invalid):
        parse_rename("a=")
    with pytest.raises(Invalid):
        RecordEdits(put=(("a", 1),)).apply(b"[1]")
    with pytest.raises(Invalid):
        RecordEdits(put=(("a.b", 1),)).apply(b'{"a": 5}')
    assert RecordEdits(drop=("a.b", "missing.x"), raw=b'{"a": {"b": 1}}').apply(b"?") == b'{"a": {}}'


async def test_replay_keeps_context_from_address_batch_and_connection() -> None:
    async with collector_harness(spec={"record_ip": True}) as collector:
        call = {"type": "track", "userId": "u1", "timestamp": AT_MS + 80_000}
        body = {"sentAt": AT_MS + 90_000, "batch": [call]}
        await collector.post("/v1/batch", body, headers={"Sec-GPC": "1"})
        await collector.post("/v1/page", {"userId": "u1", "type": None, "name": 5})
        record_by_path = {record.detail.partition(":")[0]: record for record, _ in await collector.quarantined()}
    raw = base64.b64decode(record_by_path["event"].raw)
    quarantine_entry = QuarantineEntry(
        "collector-1",
        "collector",
        "missing_field",
        "",
        "default",
        "",
        0,
        0,
        record_by_path["event"].at_ms,
        True,
        "open",
        "",
        "",
        raw,
    )
    replayed = sent(replay_decider().records(quarantine_entry, RecordEdits(put=(("event", "Mua"),)).apply(raw)))
    assert replayed.time_ms == replayed.received_ms - 10_000
    assert replayed.context["gpc"] is True
    assert replayed.context["ip"]
    raw = base64.b64decode(record_by_path["name"].raw)
    assert sent(replay_decider().records(replace(quarantine_entry, raw=raw), RecordEdits(drop=("name",)).apply(raw))).type == "page"


def test_a_body_that_was_mended_gives_all_of_its_calls_or_none() -> None:
    calls = [{"type": "track", "event": "A", "userId": "u1"}, {"type": "track", "event": "B", "userId": "u1", "messageId": "m2"}]
    outcome = replay_decider().records(entry(b"{"), json.dumps({"batch": calls}).encode())
    assert not isinstance(outcome, ReplayRefusal)
    assert [decode(Event, outgoing.value).id for outgoing in outcome] == ["collector-1-0", "m2"]
    assert isinstance(replay_decider().records(entry(b"{"), json.dumps({"batch": [*calls, {}]}).encode()), ReplayRefusal)
    assert isinstance(replay_decider().records(entry(b"{"), b"[]"), ReplayRefusal)


def test_an_event_of_a_call_centre_keeps_the_id_that_any_other_way_gives_it() -> None:
    call = {"type": "call_ended", "call_id": "c1", "caller_number": "0901234567"}
    assert sent(replay_decider().records(entry(call), json.dumps(call).encode())).id == "c1:call_ended"


async def test_a_delivery_is_replayed_with_the_header_that_its_mapping_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPIFY_WEBHOOK_SECRET", "secret")
    source = shipped_source("shopify")
    (sample,) = [sample for sample in samples_of("shopify") if sample.name == "shopify-guest-order-created"]
    broken = SampleRequest(sample.name, sample.target, sample.headers, sample.body.replace(b'"1970000.00"', b'"a lot"', 1))
    async with collector_harness() as at:
        at.sources.replace_all({source.key: source})
        headers = signed_headers(source, broken, "secret", "http://collector.test")
        await at.http.post(broken.target, content=broken.body, headers=headers)
        ((record, raw),) = await at.quarantined()
    assert (record.reason, record.detail.partition(":")[0]) == ("wrong_type", "$.total_price")
    decider = ReplayDecider(SETTINGS, [source], Admission())
    held = entry(raw, name=record.id, source="shopify")
    assert decider.records(held, raw) == ReplayRefusal("wrong_type: $.total_price")
    repaired = RecordEdits(put=(("body.total_price", 1970000),)).apply(raw)
    first, again = sent(decider.records(held, repaired)), sent(decider.records(held, repaired))
    assert (first.name, first.id) == ("Order Completed", "shopify:orders/create:5800000000002")
    assert first == again


async def test_a_form_is_replayed_as_the_fields_that_it_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTERISK_WEBHOOK_SECRET", "secret")
    source = shipped_source("asterisk")
    (sample,) = [sample for sample in samples_of("asterisk") if sample.name == "asterisk-inbound"]
    broken = SampleRequest(
        sample.name, sample.target, sample.headers, sample.body.replace(b"billsec=259", b"billsec=long&userfield=")
    )
    async with collector_harness() as at:
        at.sources.replace_all({source.key: source})
        headers = signed_headers(source, broken, "secret", "http://collector.test")
        await at.http.post(broken.target, content=broken.body, headers=headers)
        ((record, raw),) = await at.quarantined()
    fields = json.loads(raw)
    assert (fields["src"], fields["billsec"], fields["userfield"]) == ("0912345678", "long", None)
    decider = ReplayDecider(SETTINGS, [source], Admission())
    held = entry(raw, name=record.id, source="asterisk")
    assert decider.records(held, raw) == ReplayRefusal("wrong_type: $.billsec")
    replayed = sent(decider.records(held, RecordEdits(put=(("billsec", 259),)).apply(raw)))
    assert (replayed.type, replayed.id, replayed.properties["talk_seconds"]) == ("call_ended", "1749952800.101:call_ended", 259)
    as_a_form = sent(decider.records(held, sample.body))
    assert as_a_form.id == replayed.id


async def test_a_body_that_was_neither_json_nor_a_form_is_mapped_once_it_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRINGEE_WEBHOOK_SECRET", "secret")
    source = shipped_source("stringee")
    (sample,) = [sample for sample in samples_of("stringee") if sample.name == "stringee-inbound-ended"]
    async with collector_harness() as at:
        at.sources.replace_all({source.key: source})
        for _ in range(2):
            answer = await at.http.post("/v1/webhook/stringee?token=secret", content=sample.body[:-1])
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
        (record, raw), (again, _) = await at.quarantined()
    assert record.id == again.id
    decider = ReplayDecider(SETTINGS, [source], Admission())
    held = entry(raw, name=record.id, source="stringee")
    assert isinstance(decider.records(held, raw), ReplayRefusal)
    assert sent(decider.records(held, raw + b"}")).properties["talk_seconds"] == 259
