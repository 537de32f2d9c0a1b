"""The identity service and the preview on ClickHouse's real named reads, and the API process without broker and ClickHouse."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.main import main
from domain.identity.rule_changes import compare_rules
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from ops.identity.audit import IdentityHistory
from ops.identity.preview import load_evidence, read_identifiers_of
from ops.identity.references import render_node
from runtime.api_tokens import add_token
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.identifiers import node
from schemas.records import LinkRecord
from tests.support.api_tokens import BEARER, api_token
from tests.support.events import SECRET, START_MS, event
from tests.support.identity_world import IdentityWorld
from tests.support.ports import free_port
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE
from warehouse.writer import ClickHouseWriter

ÁNH, COOKIE, PHONE = "email:ánh@shop.vn", "anonymous_id:máy-chung", "phone:+84912345678"
BY = {"by": "Trần Bình", "reason": "hai người, một máy"}


async def consume(world: IdentityWorld, warehouse: Warehouse) -> None:
    """Insert everything in the pipeline's logs into ClickHouse."""
    writer = ClickHouseWriter(warehouse)
    for (topic, _), log in world.pipeline.logs.items():
        if topic == "events":
            await writer.insert(EVENT_STORE, [rows.event_row(record, decode(Event, record.value)) for record in log])
        if topic == "links":
            records = [(record, decode(LinkRecord, record.value)) for record in log]
            await writer.insert(EVIDENCE, [row for record, link in records for row in rows.evidence_rows(record, link)])
            await writer.insert(DECISIONS, [row for record, link in records for row in rows.decision_rows(record, link)])


@pytest.fixture
async def world(warehouse: Warehouse) -> IdentityWorld:
    made = IdentityWorld()

    async def connect() -> Warehouse:
        await consume(made, warehouse)
        return warehouse

    made.service = replace(made.service, history=IdentityHistory(connect))
    pairs = [{"email": "ánh@shop.vn", "anonymous_id": "máy-chung"}, {"phone": "+84912345678", "anonymous_id": "máy-chung"}]
    await made.process_events(*(event(pair, id=f"m{n}", name="Xem hàng", time_ms=START_MS + n) for n, pair in enumerate(pairs)))
    return made


@pytest.mark.clickhouse
async def test_events_and_operations_are_read_from_clickhouse(world: IdentityWorld) -> None:
    together = await world.service.why(ÁNH, PHONE)
    assert [step["first_event"]["name"] for step in together["path"]] == ["Xem hàng", "Xem hàng"]
    split = await world.service.split(COOKIE, move=[PHONE], **BY)
    (reason, *_) = (await world.service.why(ÁNH, PHONE))["reasons"]
    assert reason["decision"]["by"] == "Trần Bình"
    assert reason["decision"]["why"] == "hai người, một máy"
    back = await world.service.undo(split["operation"], **BY)
    assert len(back["profiles"]) == 1
    again = await world.service.undo(back["operation"], **BY)
    assert len(again["profiles"]) == 2
    listed = await world.service.history.operations(2)
    assert [(operation["operation"], operation["of"], operation["on"], operation["pairs"]) for operation in listed] == [
        (again["operation"], back["operation"], True, 2),
        (back["operation"], split["operation"], False, 2),
    ]


@pytest.mark.clickhouse
async def test_rule_preview_uses_evidence_in_clickhouse(world: IdentityWorld, warehouse: Warehouse) -> None:
    await world.service.split(COOKIE, move=[PHONE], **BY)
    await consume(world, warehouse)
    spec = IdentityRulesSpec.model_validate({"namespaces": {"email": {"blocked_patterns": ["^ánh@"]}}})
    rules = CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN")
    now, then = await load_evidence(warehouse, (DEFAULT_RULES, rules))
    assert {key for key, decision in now.decisions.items() if decision.on} == set(world.reads.decided()[0].pairs)
    made = compare_rules((now, DEFAULT_RULES), (then, rules))
    assert [shift.kind for shift in made.changes] == ["split"]
    assert made.proposed.linking_nobody == {"blocked": 1}
    names = await read_identifiers_of(warehouse, {node(SECRET, ("email", "ánh@shop.vn"))})
    assert set(names.values()) == {("email", "ánh@shop.vn")}


@pytest.fixture
async def redis_only_client(redis_server: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Start the API process's main function with Redis as its only store, and yield a client for it."""
    port = free_port()
    settings = Settings(
        environment="lonely",
        redis_url=SecretStr(redis_server),
        kafka_bootstrap=f"127.0.0.1:{free_port()}",
        clickhouse_url=SecretStr(f"http://127.0.0.1:{free_port()}"),
        api_port=port,
        api_tokens_file=tmp_path / "tokens.json",
    )
    add_token(tmp_path / "tokens.json", api_token(name="crm"))
    stop = asyncio.Event()
    serving = asyncio.create_task(main(settings, stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=BEARER, timeout=30) as client:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get("/")
                    break
                await asyncio.sleep(0.05)
        yield client
    stop.set()
    await serving


@pytest.mark.redis
async def test_the_api_reads_while_everything_but_redis_is_away(redis_only_client: httpx.AsyncClient) -> None:
    assert (await redis_only_client.post("/v1/profiles/lookup", json={"profile": "user_id:ai-đó"})).status_code == 404
    why = await redis_only_client.post("/v1/identity/why", json={"a": "user_id:ai", "b": "user_id:đó"})
    assert why.status_code == 200
    assert why.json()["verdict"] == "never_together"
    assert why.json()["rules_known"] is False
    undo = await redis_only_client.post("/v1/identity/undo", json={"operation": "op-" + "0" * 14, "reason": "nhầm"})
    assert undo.status_code == 503
    assert undo.json()["error"]["reason"] == "store_away"


@pytest.mark.clickhouse
async def test_operation_cannot_be_undone_while_clickhouse_is_unavailable(world: IdentityWorld) -> None:
    cut = await world.service.cut(PHONE, COOKIE, **BY)

    async def away() -> Warehouse:
        raise Transient("ClickHouse does not answer")

    blind = replace(world.service, history=IdentityHistory(away))
    with pytest.raises(Transient):
        await blind.undo(cut["operation"], **BY)
    assert render_node((await blind.why(PHONE, COOKIE))["a"]) == PHONE
