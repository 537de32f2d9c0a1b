"""The reads behind why-questions on a real ClickHouse: they answer like the twin that other tests rely on."""

import json
from dataclasses import replace
from typing import cast

import pytest

from domain.definitions.kinds import Segment, load_yaml
from domain.identity.rules import DEFAULT_RULES
from ops.segments.service import SegmentService
from runtime.settings import Settings
from tests.support.events import SECRET, event
from tests.support.explain_world import Told
from tests.support.verify_world import VerifyWorld
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse

NOW_MS, MINUTE = 1_750_000_000_000, 60_000
DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: dem}
spec:
  where:
    any:
      - did: {event: Đặt hàng, at_least: 2, within: 1d, where: [{prop: total, op: gte, value: 10}]}
      - did: {event: $page, within: 1h}
      - trait: {path: name, op: contains, value: Ánh, fold: true}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: tong}
spec:
  where:
    all:
      - aggregate: {of: sum, event: Đặt hàng, prop: total, op: gte, value: 5}
      - aggregate: {of: min, event: Đặt hàng, prop: total, op: lte, value: 50}
      - aggregate: {of: distinct, event: Đặt hàng, prop: sku, op: gte, value: 1}
      - regularly: {event: Đặt hàng, every: 1d, at_least: 1, of: 3, utc_offset: "+07:00"}
      - sequence: {first: {event: Thêm vào giỏ, within: 1d}, then: {event: Đặt hàng, within: 2h, same: [cart]}}
      - last: {event: Đặt hàng, having: [{prop: total, op: gt, value: 1}]}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: dong-y}
spec:
  where:
    all:
      - consent: {purpose: quảng cáo}
      - not: {in_segment: dem}
      - lifecycle: {stage: [first_time, active]}
"""
SEGMENTS = [definition for definition in load_yaml(DEFINITIONS, "test") if isinstance(definition, Segment)]
USER, COOKIE = {"user_id": "khách-1"}, {"anonymous_id": "máy-1"}


@pytest.fixture
async def services(clickhouse_settings: Settings, warehouse: Warehouse) -> tuple[SegmentService, SegmentService]:
    """Return two segment services that answer the same questions: one over ClickHouse, the other over its twin in memory."""
    made = VerifyWorld(clickhouse_settings, warehouse, SEGMENTS)
    bought = [("o1", 40, "a"), ("o2", 12.5, "b"), ("o3", 7, "a")]
    await made.process_events(
        event(USER | COOKIE, id="i1", type="identify", traits={"name": "Nguyễn Thị Ánh"}, time_ms=NOW_MS - 90 * MINUTE),
        event(COOKIE, id="g1", name="Thêm vào giỏ", properties={"cart": "g"}, time_ms=NOW_MS - 60 * MINUTE),
        event(COOKIE, id="p1", type="page", name="Trang chủ", time_ms=NOW_MS - 50 * MINUTE),
        *(
            event(USER, id=name, name="Đặt hàng", properties={"total": total, "sku": sku, "cart": "g"}, time_ms=NOW_MS - n * MINUTE)
            for n, (name, total, sku) in enumerate(bought)
        ),
        event(USER, id="bot", name="Đặt hàng", properties={"total": 40}, flags=("bot",), time_ms=NOW_MS - 5),
        event(
            COOKIE,
            id="c1",
            name="Segment Consent Preference Updated",
            context={"consent": {"categoryPreferences": {"quảng cáo": True}}},
            time_ms=NOW_MS - 4,
        ),
        event({"user_id": "khách-2"}, id="o1", name="Đặt hàng", properties={"total": 99}, time_ms=NOW_MS),
    )

    async def twin() -> Warehouse:
        return cast("Warehouse", Told(made.pipeline))

    settings = Settings(tenant_secret=SECRET.decode())
    verifier = made.verifier
    real = SegmentService(settings, verifier.store, verifier.clock, lambda: made.plan, lambda: DEFAULT_RULES, verifier.warehouse)
    return real, replace(real, warehouse=twin)


@pytest.mark.parametrize(("name", "event_id"), [("dem", "p1"), ("tong", "g1"), ("dong-y", "c1")])
async def test_clickhouse_answers_like_the_memory_warehouse(
    services: tuple[SegmentService, SegmentService], name: str, event_id: str
) -> None:
    real, twin = services
    answer = await real.why("user_id:khách-1", name)
    assert answer["history"]
    assert f'"id": "{event_id}"' in json.dumps(answer["tree"])
    assert answer["transition"] is not None or not answer["member"]
    assert answer == await twin.why("user_id:khách-1", name)
