"""Every shipped webhook, from the bytes that the other system sends to the events on the log."""

import base64
from copy import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import decode_definition, encode_definition
from domain.instants import instant_ms
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeLimits
from domain.intake.raw_json import encode_losslessly
from domain.intake.webhook_delivery import decide_delivery, decode_payload, stored_delivery
from domain.intake.webhook_mapping import WebhookDelivery
from ops.webhooks.catalogue import SampleRequest, definition_of, samples_of, webhook_names
from runtime.errors import Invalid
from schemas.codec import decode
from schemas.events import Event
from schemas.reasons import Reason
from schemas.records import QuarantineRecord
from tests.support.collector_harness import CollectorHarness, collector_harness
from tests.support.webhook_sources import shipped_source, signed_headers, signed_target

SECRET = "secret-of-the-sender"
LATER_MS = 10**10
"""The samples happened after the harness's own instant."""
LAN, TUYET, OTHER = ("caller_number", "+84912345678"), ("phone", "+84903123456"), ("caller_number", "+84987654312")
MAIL = ("email", "tuyet.nguyen@thu.vn")
GENESYS_CALL = "11111111-2222-4333-8444-555555555501"
STRINGEE_CALL = "call-vn-1-0DEMO0DEMO-1749952800000"
TWILIO_CALL = "CA00000000000000000000000000000101"
PRODUCTS = ["Áo dài lụa Hà Đông", "Nón lá bài thơ"]

Expected = tuple[str, str, str, str, tuple[tuple[str, str], ...], dict[str, Any]]
"""(type, name, message id, time, identifiers, some of the properties or traits)."""


def call(kind: str, message_id: str, at: str, who: tuple[tuple[str, str], ...], **properties: Any) -> Expected:
    return kind, "", message_id, at, who, properties


def order(name: str, message_id: str, at: str, who: tuple[tuple[str, str], ...], **properties: Any) -> Expected:
    return "track", name, message_id, at, who, properties


def person(message_id: str, at: str, who: tuple[tuple[str, str], ...], **traits: Any) -> Expected:
    return "identify", "", message_id, at, who, traits


SHOPIFY, HARAVAN = ("crm_id", "shopify-7000000000001"), ("crm_id", "haravan-1060000001")
SAPO, SAPO_WEB, KIOTVIET = ("crm_id", "sapo-858000001"), ("crm_id", "sapo-1060000001"), ("crm_id", "kiotviet-KH000001")
NAME = "Nguyễn Thị Ánh Tuyết"
HV_ADDRESS = {
    "street": "182 Lê Đại Hành", "ward": "Phường 15", "district": "Quận 11", "city": "Hồ Chí Minh", "country": "VN",
}  # fmt: skip
EXPECTED: dict[str, list[Expected]] = {
    "twilio-inbound-ringing": [
        call("call_started", f"{TWILIO_CALL}:call_started", "2025-06-15T09:00:00+07:00", (LAN,), direction="inbound",
             call_id=TWILIO_CALL, queue="+842871000001")
    ],
    "twilio-agent-answered": [
        call("call_connected", f"{TWILIO_CALL}:call_connected:5e0abd1a628d61ab", "2025-06-15T09:00:12+07:00", (LAN,),
             call_id=TWILIO_CALL, agent="client:lan.nguyen", direction="inbound")
    ],
    "twilio-inbound-completed": [
        call("call_ended", f"{TWILIO_CALL}:call_ended", "2025-06-15T09:04:31+07:00", (LAN,), direction="inbound", talk_seconds=259,
             disposition="completed", caller_number="+84912345678")
    ],
    "twilio-outbound-no-answer": [
        call("call_ended", "CA00000000000000000000000000000103:call_ended", "2025-06-15T08:30:05Z", (OTHER,), direction="outbound",
             talk_seconds=0, disposition="no-answer", caller_number="+84987654312")
    ],
    "twilio-withheld-number": [
        call("call_ended", "CA00000000000000000000000000000104:call_ended", "2025-06-15T09:00:00Z", (), talk_seconds=31,
             caller_number="anonymous")
    ],
    "3cx-inbound": [
        call("call_ended", "dcfec51f415aa73874ccf5cf2b3f3bf0:call_ended", "2025-06-15T02:04:31Z", (LAN, ("crm_id", "CRM-7")),
             direction="inbound", talk_seconds=259, agent="102", queue="800", disposition="answered",
             started_at="2025-06-15T02:00:00.000Z")
    ],
    "3cx-missed": [
        call("call_ended", "740a389d022108f297987f946d5d567e:call_ended", "2025-06-15T03:10:40Z", (OTHER,), direction="inbound",
             talk_seconds=0, disposition="missed")
    ],
    "asterisk-inbound": [
        call("call_ended", "1749952800.101:call_ended", "2025-06-15T09:04:31+07:00", (LAN,), direction="inbound", talk_seconds=259,
             disposition="answered", queue="800", agent="PJSIP/102-0000002a", started_at="2025-06-15T02:00:00.000Z")
    ],
    "asterisk-outbound": [
        call("call_ended", "1749956400.102:call_ended", "2025-06-15T10:00:40+07:00", (OTHER,), direction="outbound", talk_seconds=0,
             disposition="no answer", agent="102")
    ],
    "stringee-inbound-started": [
        call("call_started", f"{STRINGEE_CALL}:call_started", "2025-06-15T02:00:00.381Z", (LAN,), direction="inbound")
    ],
    "stringee-inbound-ended": [
        call("call_ended", f"{STRINGEE_CALL}:call_ended", "2025-06-15T02:04:31.077Z", (LAN,), direction="inbound", talk_seconds=259,
             disposition="USER_END_CALL")
    ],
    "stringee-outbound-ended": [
        call("call_ended", "call-vn-1-0DEMO0DEMO-1749956400000:call_ended", "2025-06-15T03:00:40.077Z", (OTHER,), talk_seconds=0,
             direction="outbound", agent="lan.nguyen", disposition="486 Busy Here")
    ],
    "genesys-customer-start": [
        call("call_started", f"{GENESYS_CALL}:call_started", "2025-06-15T02:00:00.107Z", (LAN,), direction="inbound")
    ],
    "genesys-user-start": [
        call("call_connected", f"{GENESYS_CALL}:call_connected:89c48db6bde8f309", "2025-06-15T02:00:12.107Z", (LAN,),
             agent="44444444-2222-4333-8444-555555555501", queue="55555555-2222-4333-8444-555555555501")
    ],
    "genesys-customer-end": [
        call("call_ended", f"{GENESYS_CALL}:call_ended", "2025-06-15T02:04:31.107Z", (LAN,), talk_seconds=259, disposition="CLIENT")
    ],
    "genesys-after-call-work": [
        call("call_disposition", f"{GENESYS_CALL}:call_disposition:6001d947693d0068", "2025-06-15T02:04:51.107Z", (LAN,),
             disposition="Đặt hàng", note="Khách hỏi size áo dài")
    ],
    "shopify-order-created": [
        order("Order Completed", "shopify:orders/create:5800000000001", "2025-06-15T09:00:02+07:00", (SHOPIFY, MAIL, TUYET),
              order_id="5800000000001", order_number="#1001", total=1970000, discount=30000, currency="VND", coupon="TET2025"),
        person("shopify:orders/create:5800000000001:customer", "2025-06-15T09:00:02+07:00", (SHOPIFY, MAIL, TUYET),
               name="Ánh Tuyết Nguyễn Thị", phone="+84903123456"),
    ],
    "shopify-order-refunded": [
        order("Order Refunded", "shopify:refund:8000000000001", "2025-06-20T09:59:58+07:00", (SHOPIFY, MAIL, TUYET),
              order_id="5800000000001", total=120000, note="Đổi size")
    ],
    "shopify-guest-order-created": [
        order("Order Completed", "shopify:orders/create:5800000000002", "2025-06-15T09:00:02+07:00",
              (("anonymous_id", "shopify-order-5800000000002"),), order_id="5800000000002", total=1970000, channel="pos")
    ],
    "shopify-customer-updated": [
        person("shopify:customer:7000000000001:2025-06-15T09:00:01+07:00", "2025-06-15T09:00:01+07:00", (SHOPIFY, MAIL, TUYET),
               name="Ánh Tuyết Nguyễn Thị",
               address={"street": "27/4 Lê Văn Sỹ, Phường 13", "city": "Thành phố Hồ Chí Minh", "country": "VN"})
    ],
    "haravan-order-created": [
        order("Order Completed", "haravan:orders/create:1040000001", "2025-06-15T02:00:02.456Z", (HARAVAN, MAIL, TUYET),
              order_id="1040000001", total=1970000, payment="Thanh toán khi giao hàng (COD)", payment_status="pending"),
        person("haravan:orders/create:1040000001:customer", "2025-06-15T02:00:02.456Z", (HARAVAN, MAIL, TUYET), name=NAME,
               address=HV_ADDRESS),
    ],
    "haravan-order-cancelled": [
        order("Order Cancelled", "haravan:orders/cancelled:1040000001", "2025-06-16T03:00:00Z", (HARAVAN, MAIL, TUYET),
              order_id="1040000001", cancel_reason="customer"),
        person("haravan:orders/cancelled:1040000001:customer", "2025-06-16T03:00:00Z", (HARAVAN, MAIL, TUYET), name=NAME),
    ],
    "sapo-pos-order-created": [
        order("Order Completed", "sapo:orders/create:1770000001", "2025-06-15T02:00:02Z", (SAPO, TUYET), order_number="SON000001",
              total=1970000, discount=30000),
        person("sapo:orders/create:1770000001:customer", "2025-06-15T02:00:02Z", (SAPO, TUYET), name=NAME, code="CUZN000001",
               address={"street": "27/4 Lê Văn Sỹ", "ward": "Phường 13", "district": "Quận 3", "city": "TP Hồ Chí Minh"}),
    ],
    "sapo-pos-walk-in-sale": [
        order("Order Completed", "sapo:orders/create:1770000002", "2025-06-15T02:00:02Z",
              (("anonymous_id", "sapo-order-1770000002"),), total=1970000)
    ],
    "sapo-web-order-paid": [
        order("Order Paid", "sapo:orders/paid:30000001", "2025-06-15T02:10:00Z", (SAPO_WEB, MAIL, TUYET), total=1970000,
              payment="Chuyển khoản", coupon="TET2025"),
        person("sapo:orders/paid:30000001:customer", "2025-06-15T02:10:00Z", (SAPO_WEB, MAIL, TUYET), name=NAME),
    ],
    "kiotviet-invoices": [
        order("Order Completed", "kiotviet:invoice:70000001:completed", "2025-06-15T09:00:00+07:00", (KIOTVIET,),
              order_id="HD000001", total=1970000, branch="Chi nhánh trung tâm", payment="Cash"),
        order("Order Completed", "kiotviet:invoice:70000002:completed", "2025-06-15T09:00:00+07:00",
              (("anonymous_id", "kiotviet-invoice-70000002"),), order_id="HD000002", total=1970000),
    ],
    "kiotviet-order-placed": [
        order("Order Placed", "kiotviet:order:60000001:placed", "2025-06-15T09:00:00+07:00", (KIOTVIET, TUYET), order_id="DH000001",
              status="Phiếu tạm", paid=0)
    ],
    "kiotviet-customer-updated": [
        person("kiotviet:customer:40000001:2025-06-15T09:01:00.1230000", "2025-06-15T09:01:00.123+07:00", (KIOTVIET, MAIL, TUYET),
               name=NAME, gender="female",
               address={"street": "27/4 Lê Văn Sỹ", "ward": "Phường 13", "city": "Hồ Chí Minh - Quận 3"})
    ],
}  # fmt: skip
SOURCES = {name: shipped_source(name) for name in webhook_names()}
SAMPLES = [(name, sample) for name in webhook_names() for sample in samples_of(name)]


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in webhook_names():
        webhook = SOURCES[name].spec.webhook
        assert webhook is not None
        assert webhook.signature.secret_env is not None
        monkeypatch.setenv(webhook.signature.secret_env, SECRET)


async def deliver(at: CollectorHarness, name: str, sample: SampleRequest, secret: str = SECRET) -> tuple[int, str]:
    """Register the shipped Source alone, send the sample to it, and return status and result."""
    source = SOURCES[name]
    at.sources.replace_all({source.key: source})
    if at.clock.now_ms() < LATER_MS * 200:
        at.clock.advance(LATER_MS)
    headers = signed_headers(source, sample, secret, "http://collector.test")
    answer = await at.http.post(signed_target(source, sample, secret), content=sample.body, headers=headers)
    return answer.status_code, answer.headers["x-onefold-result"]


def comparable_event(event: Event, expected: Expected) -> Expected:
    fields = event.traits if event.type == "identify" else event.properties
    who = tuple(sorted(event.identifiers))
    return event.type, event.name, event.id, expected[3], who, {name: fields.get(name) for name in expected[5]}


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[sample.name for _, sample in SAMPLES])
async def test_a_sample_becomes_its_events(name: str, sample: SampleRequest) -> None:
    expected = sorted(EXPECTED[sample.name], key=lambda row: row[2])
    async with collector_harness() as at:
        assert await deliver(at, name, sample) == (200, f"accepted={len(expected)}; quarantined=0")
        events = await at.events()
        assert [event.id for event in events] == [row[2] for row in expected]
        for event, row in zip(events, expected, strict=True):
            assert comparable_event(event, row) == (*row[:4], tuple(sorted(row[4])), row[5])
            assert event.time_ms == instant_ms(row[3])
            assert event.source == name
            if event.name in ("Order Completed", "Order Paid", "Order Placed"):
                assert [product["name"] for product in event.properties["products"]] == PRODUCTS
                assert [product["price"] for product in event.properties["products"]] == [1850000, 120000]


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[sample.name for _, sample in SAMPLES])
async def test_a_sample_that_comes_again_is_a_duplicate(name: str, sample: SampleRequest) -> None:
    async with collector_harness() as at:
        for _ in range(2):
            status, _result = await deliver(at, name, sample)
            assert status == 200
        assert {event.id for event in await at.events()} == {row[2] for row in EXPECTED[sample.name]}


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[sample.name for _, sample in SAMPLES])
async def test_a_sample_of_somebody_else_is_refused(name: str, sample: SampleRequest) -> None:
    async with collector_harness() as at:
        status, _ = await deliver(at, name, sample, secret="another secret")
        assert status == 401
        assert await at.events() == []
        assert await at.quarantined() == []


def test_every_definition_has_samples_and_every_sample_an_expectation() -> None:
    assert {sample.name for _, sample in SAMPLES} == set(EXPECTED)
    assert {name for name, _ in SAMPLES} == set(webhook_names())
    assert webhook_names() == sorted(["twilio", "3cx", "asterisk", "stringee", "genesys", "shopify", "haravan", "sapo", "kiotviet"])
    for name in webhook_names():
        source = SOURCES[name]
        assert source.metadata.name == name
        assert decode_definition(encode_definition(source), name) == source
    with pytest.raises(Invalid, match="shopify"):
        definition_of("../etc/passwd")


@pytest.mark.parametrize(
    ("name", "topic", "body"),
    [
        ("shopify", "orders/updated", b'{"id": 1, "refunds": []}'), ("haravan", "orders/updated", b'{"id": 1}'),
        ("sapo", "orders/update", b'{"id": 1}'),
    ],
)  # fmt: skip
async def test_changes_that_say_nothing_of_the_customer_are_ignored(name: str, topic: str, body: bytes) -> None:
    sample = SampleRequest("change", f"/v1/webhook/{name}", ((f"X-{name}-Topic", topic),), body)
    async with collector_harness() as at:
        assert await deliver(at, name, sample) == (200, "accepted=0; quarantined=0")
        assert await at.quarantined() == []


async def test_a_topic_that_no_rule_knows_is_quarantined_with_its_header() -> None:
    sample = SampleRequest("topic", "/v1/webhook/shopify", (("X-Shopify-Topic", "carts/create"), ("Cookie", "a=1")), b'{"id": 7}')
    async with collector_harness() as at:
        assert await deliver(at, "shopify", sample) == (200, 'accepted=0; quarantined=1; rejected="0 unknown_type mapping.rules"')
        ((record, raw),) = await at.quarantined()
        assert record.id.startswith("collector-webhook-request-")
        assert raw.startswith(b'{"body": {"id": 7}, "headers": {"x-shopify-topic": "carts/create"}, "query": {}, "id": "')


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["", " ", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a payload."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in leaves(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Return the payload with another value at a path."""
    if not path:
        return other
    changed = copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], other)
    return changed


@given(st.sampled_from(SAMPLES), st.data())
def test_whatever_a_sender_changes_is_an_event_or_in_quarantine(case: tuple[str, SampleRequest], data: st.DataObject) -> None:
    name, sample = case
    webhook = SOURCES[name].spec.webhook
    assert webhook is not None
    payload, _ = decode_payload(sample.body)
    payload = replaced(payload, data.draw(st.sampled_from(leaves(payload))), data.draw(JSON))
    headers = {key.lower(): value for key, value in sample.headers}
    delivery = WebhookDelivery(payload, encode_losslessly(payload), headers)
    intake = CallIntake(IntakeLimits(100, 32_768, 1_000_000, 1_000_000), secret=b"x" * 32, country="VN", new_id=lambda: "new")
    outcome = decide_delivery(intake, webhook.mapping, delivery, IntakeContext(name, 2_000_000_000_000))
    assert len(outcome.rejections) <= 1
    assert not (outcome.rejections and outcome.accepted)
    assert all(rejection["reason"] != Reason.POISON for rejection in outcome.rejections)
    if outcome.rejections:
        (record,) = (decode(QuarantineRecord, record.value) for record in outcome.records)
        stored = stored_delivery(record.id.removeprefix("collector-"), base64.b64decode(record.raw))
        again = decide_delivery(intake, webhook.mapping, stored, IntakeContext(name, 2_000_000_000_000))
        assert again.rejections == outcome.rejections
