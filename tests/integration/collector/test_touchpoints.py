"""Call centre, webhooks and e-mails on a collector process with a real broker behind it."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from domain.intake.email_links import EmailLink, derive_key, sign
from tests.support.collector_harness import KEY, source
from tests.support.collector_process import CollectorProcess, collector_process
from tests.support.webhook_sources import documented_source, hmac_headers, standard_headers, with_secret

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
    secret = derive_key(running.settings.tenant_secret.get_secret_value().encode())
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
