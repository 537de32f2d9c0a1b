from typing import Any

import pytest
from starlette.routing import Route

from collector.openapi import OPERATIONS
from schemas.events import EVENT_TYPES
from tests.support.collector_harness import KEY, collector_harness

CALLS: dict[str, dict[str, Any]] = {
    "track": {"event": "Đặt hàng"}, "identify": {}, "page": {}, "screen": {}, "group": {"groupId": "g1"},
    "alias": {"previousId": "c1"},
}  # fmt: skip


async def test_every_address_is_described() -> None:
    async with collector_harness() as at:
        paths = {route.path for route in at.app.routes if isinstance(route, Route) and route.include_in_schema}
        assert paths == OPERATIONS.keys()


async def test_the_document_is_served_and_names_every_reason() -> None:
    async with collector_harness() as at:
        answer = await at.http.get("/openapi.json")
        document = answer.json()
        assert answer.status_code == 200
        assert document["openapi"] == "3.1.0"
        assert {"/v1/track", "/v1/b", "/beacon/v1/batch", "/pixel/v1/page"} <= document["paths"].keys()
        assert "too_deep" in document["components"]["schemas"]["Reason"]["enum"]
        kinds = document["components"]["schemas"]["BatchedCall"]["properties"]["type"]["anyOf"]
        assert [name for kind in kinds for name in kind["enum"]] == list(EVENT_TYPES)


@pytest.mark.parametrize("kind", CALLS)
async def test_what_the_document_asks_for_makes_an_event(kind: str) -> None:
    async with collector_harness() as at:
        schemas = (await at.http.get("/openapi.json")).json()["components"]["schemas"]
        call = {**CALLS[kind], "userId": "u1"}
        assert set(schemas[f"{kind.title()}Call"].get("required", ())) <= call.keys()
        assert (await at.post(f"/v1/{kind}", call)).json() == {"success": True, "results": []}
        for field in schemas[f"{kind.title()}Call"].get("required", ()):
            less = {name: value for name, value in call.items() if name != field}
            assert len((await at.post(f"/v1/{kind}", {**less, "anonymousId": "c2"})).json()["results"]) == 1
        assert KEY not in str(schemas)
