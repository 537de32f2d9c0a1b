import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from collector.webhook_signature import Proof, ReplayCache
from domain.definitions.kinds import InvalidDefinition, Source, decode_definition, encode_definition, load_yaml
from tests.support.collector_harness import KEY, NOW_MS, CollectorHarness, collector_harness, source
from tests.support.webhook_sources import (
    documented_blocks,
    documented_source,
    hmac_headers,
    standard_headers,
    with_secret,
)

AT = NOW_MS // 1000
CTI_SECRET = "secret-of-the-cti"
ORDERS_SECRET = "whsec_c2VjcmV0LW9mLXRoZS1vcmRlci1zeXN0ZW0="
SHOWN = [json.loads(text) for text in documented_blocks("json")]
HANGUP = next(value for value in SHOWN if isinstance(value, dict) and value.get("event") == "hangup")
PAID = next(value for value in SHOWN if isinstance(value, dict) and value.get("topic") == "order.paid")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTI_WEBHOOK_SECRET", CTI_SECRET)
    monkeypatch.setenv("ORDERS_WEBHOOK_SECRET", ORDERS_SECRET)


def register_sources(at: CollectorHarness, *more: Source) -> None:
    known = (source("default", KEY), documented_source("cti"), documented_source("orders"), *more)
    at.sources.replace_all({f"Source/{one.metadata.name}": one for one in known})


async def cti(at: CollectorHarness, payload: Any, **headers: str) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    signed = {**hmac_headers(CTI_SECRET, body, at.clock.now_ms() // 1000), **headers}
    return await at.post("/v1/webhook/cti", content=body, auth=None, headers=signed)


async def orders(at: CollectorHarness, payload: Any, delivery: str = "msg_1", at_s: int = AT) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return await at.post(
        "/v1/webhook/orders", content=body, auth=None, headers=standard_headers(ORDERS_SECRET, body, at_s, delivery)
    )


async def test_the_documented_order_becomes_its_events() -> None:
    async with collector_harness() as at:
        register_sources(at)
        answer = await orders(at, PAID)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "results": []})
        identify, track = await at.events()
        assert (identify.id, track.id) == ("orders-msg_1-0", "orders-msg_1-1")
        assert identify.source == track.source == "orders"
        assert identify.traits == {
            "name": "Nguyễn Thị Ánh Tuyết",
            "email": "tuyet.nguyen@thu.vn",
            "phone": "0903 123 456",
            "address": {"street": "27/4 Lê Văn Sỹ, Phường 13, Quận 3", "city": "Thành phố Hồ Chí Minh", "country": "VN"},
        }
        assert identify.identifiers == (("email", "tuyet.nguyen@thu.vn"), ("phone", "+84903123456"), ("user_id", "KH-10293"))
        assert (track.type, track.name) == ("track", "Order Completed")
        assert track.properties == {
            "order_id": "20250615001",
            "total": 1970000,
            "currency": "VND",
            "coupon": "TET2025",
            "payment": "Ví MoMo",
            "paid_at": "2025-06-15T13:31:00.000Z",
            "products": [
                {"product_id": "AD-01", "name": "Áo dài lụa Hà Đông", "quantity": 1, "price": 1850000},
                {"product_id": "NL-02", "name": "Nón lá bài thơ", "quantity": 1, "price": 120000},
            ],
        }


async def test_each_element_becomes_an_event() -> None:
    returns = [
        {"return_id": f"r-{n}", "customer": f"KH-{n}", "order": n, "at": NOW_MS - 1, "lines": [{"sku": "A"}, {"sku": "B"}]}
        for n in range(3)
    ]
    async with collector_harness() as at:
        register_sources(at)
        assert (
            await orders(at, {"topic": "stock.returned", "warehouse": {"name": "Kho Thủ Đức"}, "returns": returns})
        ).status_code == 200
        events = await at.events()
        assert [event.id for event in events] == ["r-0", "r-1", "r-2"]
        assert events[1].properties == {"order_id": 1, "warehouse": "Kho Thủ Đức", "skus": ["A", "B"]}
        assert events[1].time_ms == NOW_MS - 1


async def test_the_documented_hangup_is_the_end_of_a_call() -> None:
    async with collector_harness() as at:
        register_sources(at)
        assert (await cti(at, HANGUP)).status_code == 200
        outbound = {
            **HANGUP,
            "call": {**HANGUP["call"], "uuid": "c-2", "direction": "out", "from": "19001234", "to": "0987 650 321"},
        }
        assert (await cti(at, outbound)).status_code == 200
        inbound, other = await at.events()
        assert (inbound.type, inbound.id) == ("call_ended", "c-1001:call_ended")
        assert inbound.identifiers == (("caller_number", "+84912345678"), ("user_id", "KH-7"))
        assert inbound.properties["talk_seconds"] == 259
        assert inbound.properties["recording"] == "https://cti.example.vn/r/c-1001"
        assert other.properties["direction"] == "outbound"
        assert ("caller_number", "+84987650321") in other.identifiers


async def test_ignored_webhook_delivery_is_stored_nowhere() -> None:
    async with collector_harness() as at:
        register_sources(at)
        answer = await orders(at, {"topic": "ping"})
        assert (answer.status_code, answer.headers["x-onefold-result"]) == (200, "accepted=0; quarantined=0")
        assert await at.events() == []
        assert await at.quarantined() == []


@pytest.mark.parametrize(
    ("payload", "reason", "path"),
    [
        ({"topic": "order.dreamt"}, "unknown_type", "mapping.rules"),
        ([1, 2], "unknown_type", "mapping.rules"),
        ({**PAID, "order": {**PAID["order"], "amounts": {"grand_total": "a lot"}}}, "wrong_type", "$.order.amounts.grand_total"),
        ({**PAID, "order": {**PAID["order"], "paid_at": {}}}, "wrong_type", "$.order.paid_at"),
        ({**PAID, "order": {**PAID["order"], "lines": {"sku": 1}}}, "wrong_type", "$.order.lines[*]"),
        ({**PAID, "order": {**PAID["order"], "customer": {"code": "null"}, "shipping": {}}}, "no_identifier", ""),
        ({**PAID, "order": {**PAID["order"], "updated_at": "soon"}}, "wrong_type", "timestamp"),
        ({"topic": "stock.returned"}, "missing_field", "$.returns[*]"),
        ({"topic": "stock.returned", "returns": {"a": 1}}, "wrong_type", "$.returns[*]"),
        ({"topic": "stock.returned", "returns": [{}] * 2501}, "too_many", "$.returns[*]"),
    ],
)
async def test_unmappable_delivery_is_quarantined_whole(payload: Any, reason: str, path: str) -> None:
    async with collector_harness() as at:
        register_sources(at)
        answer = await orders(at, payload)
        assert answer.status_code == 200
        (result,) = answer.json()["results"]
        assert (result["reason"], result["path"]) == (reason, path)
        assert await at.events() == []
        ((held, raw),) = await at.quarantined()
        assert (held.reason, held.source, held.counted, json.loads(raw)) == (reason, "orders", True, payload)
        assert held.id.startswith("collector-webhook-")


async def test_a_delivery_that_comes_again_is_a_duplicate() -> None:
    async with collector_harness() as at:
        register_sources(at)
        await orders(at, PAID)
        await orders(at, PAID, at_s=AT + 1)
        await cti(at, HANGUP)
        at.clock.advance(5000)
        await cti(at, HANGUP)
        assert [event.id for event in await at.events()] == ["c-1001:call_ended"] * 2 + ["orders-msg_1-0"] * 2 + [
            "orders-msg_1-1"
        ] * 2


async def test_delivery_that_is_repeated_because_its_answer_got_lost_is_answered_as_taken_and_counts_once() -> None:
    async with collector_harness() as at:
        register_sources(at)
        first = await orders(at, PAID)
        for _ in range(3):
            again = await orders(at, PAID)
            assert (again.status_code, again.json()) == (first.status_code, first.json()) == (200, {"success": True, "results": []})
            assert again.headers["x-onefold-result"] == "accepted=0; quarantined=0"
        assert len(await at.events()) == 2
        at.clock.advance(301_000)
        answer = await orders(at, PAID)
        assert (answer.status_code, answer.json()["code"]) == (401, "stale_signature")


async def test_delivery_not_accepted_by_the_broker_may_be_repeated() -> None:
    async with collector_harness(away=True) as at:
        register_sources(at)
        for _ in range(2):
            answer = await orders(at, PAID)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CTI-Signature": "sha256="},
        {"X-CTI-Signature": hmac.new(CTI_SECRET.encode(), f"{AT}.".encode(), "sha256").hexdigest(), "X-CTI-Timestamp": str(AT)},
        {"X-CTI-Signature": "sha256=ÿé", "X-CTI-Timestamp": str(AT)},
        {"X-CTI-Signature": "sha256=00", "X-CTI-Timestamp": "{body}{timestamp}ÿ"},
        hmac_headers("another secret", orjson.dumps(HANGUP), AT),
        hmac_headers(CTI_SECRET, orjson.dumps(PAID), AT),
        {**hmac_headers(CTI_SECRET, orjson.dumps(HANGUP), AT), "X-CTI-Timestamp": str(AT + 1)},
    ],
)
async def test_a_wrong_signature_is_refused_and_nothing_kept(headers: dict[str, str]) -> None:
    async with collector_harness() as at:
        register_sources(at)
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = await at.post("/v1/webhook/cti", HANGUP, auth=None, headers=raw)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
        assert await at.events() == []
        assert await at.quarantined() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": ""}, {"webhook-id": "msg_2"}, {"webhook-id": "m" * 129}, {"webhook-timestamp": str(AT + 1)},
        {"webhook-timestamp": "now"}, {"webhook-signature": ""}, {"webhook-signature": "v1,x"}, {"webhook-signature": "v1"},
    ],
)  # fmt: skip
async def test_a_wrong_standard_signature_is_refused(changed: dict[str, str]) -> None:
    body = orjson.dumps(PAID)
    async with collector_harness() as at:
        register_sources(at)
        headers = {**standard_headers(ORDERS_SECRET, body, AT), **changed}
        answer = await at.post("/v1/webhook/orders", content=body, auth=None, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")


async def test_several_secrets_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTI_WEBHOOK_SECRET", f"new-secret {CTI_SECRET}")
    monkeypatch.setenv("ORDERS_WEBHOOK_SECRET", f"{ORDERS_SECRET} whsec_bmV3")
    async with collector_harness() as at:
        register_sources(at)
        assert (await cti(at, HANGUP)).status_code == (await orders(at, PAID)).status_code == 200


async def test_webhook_without_a_configured_secret_answers_retryable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with collector_harness(data_dir=tmp_path) as at:
        register_sources(at, with_secret(documented_source("cti"), secret_env=None, secret_file="none"))
        for _ in range(2):
            answer = await cti(at, HANGUP)
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "no_webhook_secret", "60")
            monkeypatch.setenv("CTI_WEBHOOK_SECRET", " ")
            register_sources(at)
        monkeypatch.setenv("ORDERS_WEBHOOK_SECRET", "whsec_=")
        assert (await orders(at, PAID)).status_code == 503


async def test_non_json_delivery_is_quarantined() -> None:
    async with collector_harness() as at:
        register_sources(at)
        answer = await cti(at, b"{no")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
        ((held, raw),) = await at.quarantined()
        assert (held.reason, raw, held.source) == ("unparsable", b"{no", "cti")


async def test_only_sources_with_a_webhook_have_one() -> None:
    async with collector_harness() as at:
        register_sources(at)
        for name in ("default", "none", "..", "%2e%2e"):
            assert (await at.post(f"/v1/webhook/{name}", {})).status_code == 404


def test_definitions_say_what_is_wrong_and_survive_the_topic() -> None:
    for name in ("cti", "orders"):
        found = documented_source(name)
        assert decode_definition(encode_definition(found), "test") == found
    for change, said in (
        (("secret_env: ORDERS_WEBHOOK_SECRET", "secret: abc"), "secret"),
        (("secret_env: ORDERS_WEBHOOK_SECRET", "secret_env: A, secret_file: b"), "one of them"),
        (("$.order.payment", "$order.payment"), "a path reads like"),
        (("$.order.payment", "$.order.payment", "[number]", "[eval]"), "epoch_ms"),
        (("user_id: $.order.customer.code", "Số thẻ: $.a"), "namespaces are"),
        (("{scheme: standard,", "{scheme: token,"), "name the place of the secret"),
        (("{scheme: standard,", "{scheme: token, header: A, basic: true,"), "name the place of the secret"),
        (("{scheme: standard,", "{scheme: token, basic: true, prefix: x,"), "name the header too"),
        (("ignore: true", "ignore: false"), "ignore"),
    ):
        text = next(text for text in documented_blocks("yaml") if "name: orders" in text)
        for old, new in zip(change[::2], change[1::2], strict=True):
            text = text.replace(old, new)
        with pytest.raises(InvalidDefinition, match=said):
            load_yaml(text, "test")
    text = next(text for text in documented_blocks("yaml") if "name: cti" in text)
    for old, new in (
        ("timestamp_header: X-CTI-Timestamp", "signed: '{timestamp}{body}'"),
        ("prefix:", "signed: nothing\n      prefix:"),
    ):
        with pytest.raises(InvalidDefinition, match=r"timestamp|\{body\}"):
            load_yaml(text.replace(old, new), "test")


def test_the_memory_of_deliveries_is_bounded() -> None:
    seen = ReplayCache(max_entries=2)
    for n in range(3):
        seen.add("s", Proof(bytes([n])), NOW_MS + 10)
    assert [seen.has("s", Proof(bytes([n])), NOW_MS) for n in range(3)] == [False, True, True]
    assert not seen.has("s", Proof(b"\x02"), NOW_MS + 11)
    assert not seen.has("other", Proof(b"\x02"), NOW_MS)
    seen.add("s", Proof(b"r", replayable=True), NOW_MS)
    assert not seen.has("s", Proof(b"r", replayable=True), NOW_MS)
