"""The ways in which other systems prove who they are, each through the collector."""

import base64
import gzip
import hmac
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.definitions.kinds import Source, encode_definition, load_yaml
from tests.support.collector_harness import NOW_MS, CollectorHarness, collector_harness
from tests.support.webhook_sources import documented_payload, documented_source, standard_headers, twilio_signature, with_secret

AT = NOW_MS // 1000
CTI_SECRET = "secret-of-the-cti"
ORDERS_SECRET = "whsec_c2VjcmV0LW9mLXRoZS1vcmRlci1zeXN0ZW0="
HANGUP, PAID = documented_payload("event", "hangup"), documented_payload("topic", "order.paid")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTI_WEBHOOK_SECRET", CTI_SECRET)
    monkeypatch.setenv("ORDERS_WEBHOOK_SECRET", ORDERS_SECRET)


def register_sources(at: CollectorHarness, *more: Source) -> None:
    known = (documented_source("cti"), documented_source("orders"), *more)
    at.sources.replace_all({one.key: one for one in known})


async def test_the_headers_of_svix_are_those_of_the_standard() -> None:
    body = orjson.dumps(PAID)
    standard = standard_headers(ORDERS_SECRET, body, AT)
    svix = {name.replace("webhook-", "svix-"): value for name, value in standard.items()}
    async with collector_harness() as at:
        register_sources(at)
        answer = await at.post("/v1/webhook/orders", content=body, auth=None, headers=svix)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "results": []})
        assert [event.id for event in await at.events()] == ["orders-msg_1-0", "orders-msg_1-1"]
        again = await at.post("/v1/webhook/orders", content=body, auth=None, headers=standard)
        assert again.status_code == 200
        assert len(await at.events()) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"svix-id": "msg_2"}, {"svix-timestamp": str(AT + 1)}, {"svix-signature": "v1,x"}, {"svix-signature": ""}, {"svix-id": ""},
        {"webhook-id": "msg_2"},
    ],
)  # fmt: skip
async def test_a_wrong_signature_of_svix_is_refused(changed: dict[str, str]) -> None:
    body = orjson.dumps(PAID)
    svix = {name.replace("webhook-", "svix-"): value for name, value in standard_headers(ORDERS_SECRET, body, AT).items()}
    async with collector_harness() as at:
        register_sources(at)
        answer = await at.post("/v1/webhook/orders", content=body, auth=None, headers={**svix, **changed})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
        at.clock.advance(301_000)
        stale = await at.post("/v1/webhook/orders", content=body, auth=None, headers=svix)
        assert (stale.status_code, stale.json()["code"]) == (401, "stale_signature")


async def test_other_ways_to_sign(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("bí mật\n", encoding="utf-8")
    place = {"secret_env": None, "secret_file": "secret", "timestamp_header": None}
    form = {"algorithm": "sha512", "encoding": "base64", "prefix": ""}
    body = gzip.compress(orjson.dumps(HANGUP))
    async with collector_harness(data_dir=tmp_path) as at:
        at.sources.replace_all({"Source/cti": with_secret(documented_source("cti"), **place, **form)})
        for secret, status in (("bí", 200), ("mật", 200), ("mat", 401)):
            signature = base64.b64encode(hmac.new(secret.encode(), body, "sha512").digest()).decode()
            answer = await at.post("/v1/webhook/cti", content=body, auth=None, headers={"X-CTI-Signature": signature})
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("encoding", "secret", "key"),
    [("hex", "00ff10", b"\x00\xff\x10"), ("base64", "AP8Q", b"\x00\xff\x10"), ("text", "AP8Q", b"AP8Q")],
)
async def test_the_key_of_an_hmac_may_be_encoded(monkeypatch: pytest.MonkeyPatch, encoding: str, secret: str, key: bytes) -> None:
    monkeypatch.setenv("CTI_WEBHOOK_SECRET", secret)
    body = orjson.dumps(HANGUP)
    form = {"timestamp_header": None, "key_encoding": encoding, "algorithm": "sha1", "prefix": "sha1="}
    async with collector_harness() as at:
        at.sources.replace_all({"Source/cti": with_secret(documented_source("cti"), **form)})
        headers = {"X-CTI-Signature": f"sha1={hmac.new(key, body, 'sha1').hexdigest()}"}
        assert (await at.post("/v1/webhook/cti", content=body, auth=None, headers=headers)).status_code == 200
        bare = {"X-CTI-Signature": headers["X-CTI-Signature"].removeprefix("sha1=")}
        assert (await at.post("/v1/webhook/cti", content=body, auth=None, headers=bare)).status_code == 200
        monkeypatch.setenv("CTI_WEBHOOK_SECRET", "?")
        status = 401 if encoding == "text" else 503
        assert (await at.post("/v1/webhook/cti", content=body, auth=None, headers=headers)).status_code == status


def source_with_signature(**signature: Any) -> Source:
    cti = documented_source("cti")
    document = {**orjson.loads(encode_definition(cti)), "metadata": {"name": "pbx"}}
    document["spec"]["webhook"]["signature"] = signature
    (found,) = load_yaml(orjson.dumps(document).decode(), "test")
    assert isinstance(found, Source)
    return found


@pytest.mark.parametrize(
    ("place", "right", "wrong"),
    [
        ({"header": "X-Api-Key"}, {"X-Api-Key": "bí-mật".encode()}, {"X-Api-Key": b"x"}),
        ({"header": "Authorization", "prefix": "Bearer "}, {"Authorization": "Bearer bí-mật".encode()},
         {"Authorization": "bí-mật".encode()}),
        ({"basic": True}, {"Authorization": b"Basic " + base64.b64encode("ai:bí-mật".encode())},
         {"Authorization": b"Basic " + base64.b64encode("bí-mật:".encode())}),
    ],
)  # fmt: skip
async def test_a_token_proves_senders_that_cannot_sign(
    monkeypatch: pytest.MonkeyPatch, place: dict[str, Any], right: dict[str, bytes], wrong: dict[str, bytes]
) -> None:
    monkeypatch.setenv("PBX_SECRET", "cũ bí-mật")
    async with collector_harness() as at:
        register_sources(at, source_with_signature(scheme="token", secret_env="PBX_SECRET", **place))
        assert (await at.post("/v1/webhook/pbx", HANGUP, auth=None, headers=right)).status_code == 200
        assert (await at.post("/v1/webhook/pbx", HANGUP, auth=None, headers=right)).status_code == 200
        for headers in (wrong, {}, dict.fromkeys(right, b"")):
            refused = await at.post("/v1/webhook/pbx", HANGUP, auth=None, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "invalid_signature")
        assert {event.id for event in await at.events()} == {"c-1001:call_ended"}


async def test_a_token_may_be_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBX_SECRET", "bí-mật")
    async with collector_harness() as at:
        register_sources(at, source_with_signature(scheme="token", secret_env="PBX_SECRET", query="token"))
        for query, status in (({"token": "bí-mật"}, 200), ({"token": "x"}, 401), ({}, 401)):
            answer = await at.http.post("/v1/webhook/pbx", params=query, content=orjson.dumps(HANGUP))
            assert answer.status_code == status


async def test_the_address_that_twilio_signs_may_be_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "12345")
    body = b"event=hangup&at=Sun%2C+15+Jun+2025+02%3A04%3A31+%2B0000"
    for url in (None, "https://cdp.cho-que.vn/twilio?a=1"):
        async with collector_harness(collector_trusted_hops=1) as at:
            register_sources(at, source_with_signature(scheme="twilio", secret_env="TWILIO_AUTH_TOKEN", url=url))
            signature = twilio_signature("12345", url or "https://collector.test/v1/webhook/pbx?x=%C4%91", body)
            headers = {"X-Twilio-Signature": signature, "X-Forwarded-Proto": "https"}
            answer = await at.http.post("/v1/webhook/pbx?x=%C4%91", content=body, headers=headers)
            assert answer.status_code == 200
            assert answer.json()["results"][0]["reason"] == "missing_field"
            wrong = await at.http.post("/v1/webhook/pbx?x=1", content=body + b"&b=1", headers=headers)
            assert wrong.status_code == 401
