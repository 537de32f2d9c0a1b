"""Call centre, webhooks and e-mails on a collector process with a real broker behind it."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from domain.instants import instant_ms
from domain.intake.email_links import EmailLink, derive_key, sign
from ops.webhooks.catalogue import samples_of, webhook_names
from tests.support.collector_harness import KEY, source
from tests.support.collector_process import CollectorProcess, collector_process
from tests.support.webhook_sources import (
    documented_source,
    hmac_headers,
    shipped_source,
    signed_headers,
    signed_target,
    standard_headers,
    with_secret,
)

SECRET = "secret-of-the-cti"
ORDERS = "whsec_c2VjcmV0LW9mLXRoZS1vcmRlci1zeXN0ZW0="
CALL = {
    "type": "call_ended",
    "call_id": "c-1",
    "caller_number": "0912 345 678",
    "talk_seconds": 259,
    "timestamp": "2025-06-15T09:04:31+07:00",
}


@pytest.fixture
def running(kafka: str, tmp_path: Path) -> Iterator[CollectorProcess]:
    (tmp_path / "orders-secret").write_text(ORDERS)
    orders = with_secret(documented_source("orders"), secret_env=None, secret_file="orders-secret")
    known = (source("default", KEY), documented_source("cti"), orders)
    with collector_process(kafka, tmp_path, *known, environ={"CTI_WEBHOOK_SECRET": SECRET}) as process:
        yield process


@pytest.mark.kafka
def test_every_touchpoint_reaches_the_log(running: CollectorProcess) -> None:
    now = int(time.time())
    hangup = orjson.dumps(
        {"event": "hangup", "at": CALL["timestamp"], "call": {"uuid": "c-1", "from": "0912345678", "billsec": 259}}
    )
    order = orjson.dumps({"topic": "order.paid", "order": {"id": 1, "customer": {"code": "KH-1", "name": "Lê Thị Bưởi"}}})
    secret = derive_key(running.settings.tenant_key)
    token = sign(secret, EmailLink("mail-1", ("user_id", "KH-1"), "Tết", (now + 60) * 1000, "https://shop.vn/tet"))
    with httpx.Client(base_url=running.url, timeout=30) as http:
        assert http.post("/v1/calls", json=CALL, auth=(KEY, "")).status_code == 200
        assert http.post("/v1/webhook/cti", content=hangup, headers=hmac_headers(SECRET, hangup, now)).status_code == 200
        taken = [http.post("/v1/webhook/orders", content=order, headers=standard_headers(ORDERS, order, now)) for _ in range(2)]
        assert [answer.status_code for answer in taken] == [200, 200]
        click = http.get(f"/e/c/{token}")
        assert click.status_code == 302
        assert click.headers["location"] == "https://shop.vn/tet"
    events = running.read("events", 5)
    by_call, by_cti = [event for event in events if event.id == "c-1:call_ended"]
    assert by_call.identifiers == by_cti.identifiers == (("caller_number", "+84912345678"),)
    assert by_call.owner == by_cti.owner
    assert by_call.properties["talk_seconds"] == by_cti.properties["talk_seconds"] == 259
    assert {event.name for event in events if event.type == "track"} == {"Order Completed", "Email Link Clicked"}
    (identify,) = [event for event in events if event.type == "identify"]
    assert identify.source == "orders"
    assert identify.traits["name"] == "Lê Thị Bưởi"


@pytest.mark.kafka
def test_every_shipped_webhook_reaches_the_log(kafka: str, tmp_path: Path) -> None:
    sources = [shipped_source(name) for name in webhook_names()]
    secrets = {
        source.spec.webhook.signature.secret_env: "secret-of-the-sender"
        for source in sources
        if source.spec.webhook is not None and source.spec.webhook.signature.secret_env is not None
    }
    with collector_process(kafka, tmp_path, *sources, environ=secrets) as process, httpx.Client(base_url=process.url) as http:
        accepted = 0
        for source in sources:
            for sample in samples_of(source.metadata.name):
                headers = signed_headers(source, sample, "secret-of-the-sender", process.url)
                target = signed_target(source, sample, "secret-of-the-sender")
                answer = http.post(target, content=sample.body, headers=headers)
                assert (answer.status_code, answer.json()["results"]) == (200, []), sample.name
                accepted += int(answer.headers["x-onefold-result"].partition(";")[0].removeprefix("accepted="))
                wrong = http.post(sample.target, content=sample.body, headers=dict(sample.headers))
                assert wrong.status_code == 401, sample.name
        events = process.read("events", accepted)
    assert {event.source for event in events} == set(webhook_names())
    twilio = {event.id: event for event in events if event.source == "twilio"}
    ended = twilio["CA00000000000000000000000000000101:call_ended"]
    assert ended.identifiers == (("caller_number", "+84912345678"),)
    assert (ended.properties["direction"], ended.properties["talk_seconds"]) == ("inbound", 259)
    assert ended.time_ms == instant_ms("2025-06-15T09:04:31+07:00")
