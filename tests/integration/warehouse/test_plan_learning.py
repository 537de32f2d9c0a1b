"""A tracking plan that is learnt from stored events accepts these events."""

from typing import Any

import pytest

from domain.definitions.kinds import TrackingPlan, load_yaml
from domain.intake.tracking_plan_check import CompiledPlan, PlanCheck
from ops.cli.tracking_plan import learn_plan
from runtime.bus.port import Record
from tests.support.events import START_MS, event
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import EVENT_STORE
from warehouse.writer import ClickHouseWriter

pytestmark = pytest.mark.clickhouse


def order(number: int) -> dict[str, Any]:
    properties = {
        "order_id": f"DH-{number}", "total": f"{number}.50", "count": number, "weight": number + 0.5, "gift": number % 2 == 0,
        "currency": ["VND", "đồng"][number % 2], "at": "2025-06-15T10:00:00.000Z", "products": [{"sku": "áo"}],
        "ship": {"city": "Huế"}, "ref": f"khách-{number}@cho-que.vn", "hotline": "0912 345 678", "gone": None,
    }  # fmt: skip
    return properties | ({"coupon": "TẾT"} if number % 10 == 0 else {})


async def test_learned_tracking_plan_accepts_its_events(warehouse: Warehouse) -> None:
    history = [event({"user_id": "u"}, id=f"m{n}", name="Đặt hàng", properties=order(n), source="shop") for n in range(200)]
    history += [
        event({"user_id": "u"}, id=f"i{n}", type="identify", traits={"tên": f"Ánh {n}", "email": f"{n}@cho-que.vn"}, source="shop")
        for n in range(150)
    ]
    history.append(event({"user_id": "u"}, id="x", name="Của nguồn khác", source="other"))
    history.append(event({"user_id": "u"}, id="y", name="Cũ rồi", source="shop", time_ms=START_MS - 10))
    records = [Record("onefold.events", 0, offset, 0, None, None) for offset in range(len(history))]
    await ClickHouseWriter(warehouse).insert(EVENT_STORE, [rows.event_row(*pair) for pair in zip(records, history, strict=True)])
    total, text = await learn_plan(warehouse, "shop", "7d", START_MS)
    assert total == 350
    [plan] = load_yaml(text, "learnt.yaml")
    assert isinstance(plan, TrackingPlan)
    compiled = CompiledPlan("shop", plan.spec)
    assert [compiled.check(item) for item in history[:-2]] == [PlanCheck()] * 350
    assert set(plan.spec.events) == {"Đặt hàng", "$identify"}
    learnt = plan.spec.events["Đặt hàng"].properties
    assert {name: rules.type for name, rules in learnt.items()} == {
        "order_id": "string", "total": "money", "count": "integer", "weight": "number", "gift": "boolean", "currency": "string",
        "at": "datetime", "products": "array", "ship": "object", "ref": "string", "hotline": "string", "coupon": "string",
    }  # fmt: skip
    assert {name for name, rules in learnt.items() if not rules.required} == {"coupon"}
    assert {name: rules.enum for name, rules in learnt.items() if rules.enum} == {"currency": ("VND", "đồng")}
    assert {name: rules.pii for name, rules in learnt.items() if rules.pii != "none"} == {"ref": "contact", "hotline": "contact"}
    assert "@cho-que.vn" not in text
    assert (await learn_plan(warehouse, "shop", "7d", START_MS + 1))[0] == 0
