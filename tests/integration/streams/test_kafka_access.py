"""Every process with the rights of the access table alone, on a broker that checks them: all of it works, and nothing is denied."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from domain.definitions.kinds import key_hash
from ops.adopted_logs import record_log
from ops.prepare import create_topics
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.clock import SystemClock
from runtime.errors import Misconfigured
from runtime.settings import Settings
from schemas.kafka_access import ACCESS, OPERATOR, Right, rights_of
from tests.support.authorized_stage import AuthorizedStage, authorized_broker
from tests.support.polling import eventually
from tests.support.rounds import PROFILE
from tests.support.webhook_receiver import SECRET
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse
from warehouse.migrate import migrate

pytestmark = [
    pytest.mark.stack, pytest.mark.kafka, pytest.mark.redis, pytest.mark.clickhouse,
    pytest.mark.skipif(PROFILE == "quick", reason="five processes and commands on a stack of their own: `make chaos` runs it"),
]  # fmt: skip

WRITE_KEY = "a write key of a test"
DEFINITIONS = f"""
apiVersion: onefold/v1
kind: Source
metadata: {{name: default}}
spec: {{topic_ingress: true, write_key_sha256: [{key_hash(WRITE_KEY)}]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {{name: buyers}}
spec: {{where: {{did: {{event: Order Completed}}}}}}
---
apiVersion: onefold/v1
kind: Destination
metadata: {{name: crm}}
spec:
  type: webhook
  url: http://127.0.0.1:9/hook
  secret_file: crm.secret
  allow_private_addresses: true
  triggers: [{{segment: buyers}}]
"""
CALLS: Final[list[dict[str, Any]]] = [
    {"type": "track", "event": "Order Completed", "userId": "KH-7", "anonymousId": "c1", "messageId": "1"},
    {"type": "group", "groupId": "cong-ty-a", "userId": "KH-7", "traits": {"name": "Công ty A"}, "messageId": "2"},
    {"type": "track", "event": "Nobody's", "messageId": "3"},
]
TOUCHPOINT = {"type": "track", "event": "Store Visited", "userId": "KH-8", "messageId": "4"}


@pytest.fixture
def stage(redis_server: str, clickhouse_settings: Settings, tmp_path: Path) -> Iterator[AuthorizedStage]:
    """Start a broker that checks rights, with all of the table granted, and the topics and tables made by the operator."""
    stores = {
        "ONEFOLD_REDIS_URL": redis_server,
        "ONEFOLD_CLICKHOUSE_URL": clickhouse_settings.clickhouse_url.get_secret_value(),
        "ONEFOLD_CLICKHOUSE_DATABASE": clickhouse_settings.clickhouse_database,
    }
    with authorized_broker(tmp_path, stores, f"t{uuid.uuid4().hex[:12]}", "call-centre") as running:
        asyncio.run(prepare(running))
        yield running


async def prepare(stage: AuthorizedStage) -> None:
    for access in ACCESS:
        await stage.grant(access.role, rights_of(access, stage.environment))
    await stage.grant("call-centre", [Right("Write", "topic", f"{stage.environment}.touchpoints")])
    settings = stage.settings(OPERATOR)
    await migrate(settings)
    store, warehouse = open_store(settings, SystemClock()), await Warehouse.connect(settings)
    async with KafkaBus(settings) as bus:
        await create_topics(settings, bus)
        await record_log(settings, bus, (AdoptedLogTable(warehouse), store))
    await warehouse.aclose()
    await store.aclose()


async def send_touchpoint(settings: Settings) -> None:
    async with KafkaBus(settings) as bus:
        producer = await bus.producer()
        await producer.send([Outgoing(settings.topic("touchpoints"), json.dumps(TOUCHPOINT).encode())])
        await producer.aclose()


def send_again_by_the_api(stage: AuthorizedStage) -> None:
    """Have the API send a message and a repaired record again."""
    token = stage.command("tokens", "add", "test", "--scope", "all").stdout.strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stage.api_port}/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as api:
        key = api.get("/deliveries").json()["deliveries"][0]["key"]
        assert api.post(f"/deliveries/{key}/resend").status_code == 202
        record = api.get("/quarantine").json()["records"][0]["id"]
        repaired = json.dumps({**CALLS[2], "userId": "KH-9"})
        assert api.post(f"/quarantine/{record}/replay", json={"raw": repaired}).status_code == 202


def test_every_process_works_with_the_rights_of_the_table_and_is_denied_nothing(stage: AuthorizedStage) -> None:
    (stage.directory / "definitions.yaml").write_text(DEFINITIONS, encoding="utf-8")
    with stage.running_roles():
        (stage.directory / "activation" / "crm.secret").write_text(SECRET)
        applied = stage.command("apply", str(stage.directory / "definitions.yaml"), "--yes")
        assert applied.returncode == 0, applied.stderr
        collector = f"http://127.0.0.1:{stage.collector_port}/v1/batch"

        def send() -> int:
            return httpx.post(collector, json={"batch": CALLS}, auth=(WRITE_KEY, ""), timeout=30).status_code

        eventually(send, lambda status: status == 200)
        asyncio.run(send_touchpoint(stage.settings("call-centre")))

        def account() -> dict[str, int]:
            printed: dict[str, int] = json.loads(stage.command("account", "--json").stdout)
            return printed

        eventually(account, lambda seen: seen["accepted"] == 4 and seen["in_flight"] == 0, 120, every_s=1)
        eventually(lambda: stage.command("deliveries", "list", "--json").stdout, lambda text: '"waiting"' in text, 120, every_s=1)
        send_again_by_the_api(stage)
    decisions = stage.decisions()
    assert {decision for decision in decisions if not decision.is_allowed} == set()
    for access in ACCESS:
        used = {
            operation: {d.name for d in decisions if (d.user, d.operation, d.resource) == (access.role, operation, "Topic")}
            for operation in ("READ", "WRITE")
        }
        if access.role != OPERATOR:
            assert used["READ"] == {f"{stage.environment}.{topic}" for topic in access.reads}
            assert used["WRITE"] <= {f"{stage.environment}.{topic}" for topic in access.writes}


async def test_what_the_table_does_not_name_is_refused(stage: AuthorizedStage) -> None:
    async with KafkaBus(stage.settings("collector"), timeout_ms=8_000) as bus:
        with pytest.raises(Misconfigured, match="Kafka refuses"):
            await bus.reader([f"{stage.environment}.profiles"])
    async with KafkaBus(stage.settings("call-centre"), timeout_ms=8_000) as bus:
        producer = await bus.producer()
        with pytest.raises(Misconfigured, match="Kafka refuses"):
            await producer.send([Outgoing(f"{stage.environment}.definitions", b"{}", b"Source/default")])
        await producer.aclose()
