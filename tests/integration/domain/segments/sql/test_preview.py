"""A preview counts all members and names some."""

import pytest

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.sql.compile import membership_query
from domain.segments.sql.preview import preview_query
from tests.support.segments import customer_event, segment
from tests.support.sql_stream_comparison import load_history
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
AT = 1_772_323_200_000


async def test_a_preview_counts_all_and_names_some(warehouse: Warehouse) -> None:
    events = [customer_event("Cart Updated", AT, identifiers={"user_id": f"người-{number}"}) for number in range(40)]
    await load_history(warehouse, events)
    all_of_them = sorted(one.owner for one in events)
    leaf = {"all": [{"did": {"event": "Cart Updated"}}, {"trait": {"path": "a.b", "op": "exists", "value": False}}]}
    plan = segment_plan_of([segment("carts", leaf), segment("nobody", {"did": {"event": "none"}})])
    for sample, shown in ((1, 1), (10, 10), (40, 40), (1_000, 40), (0, 1)):
        query = preview_query(plan, "carts", AT, sample)
        [(members, ids)] = await warehouse.query(query.sql, query.parameters)
        assert members == 40
        assert len(ids) == shown
        assert ids == sorted(set(ids) & set(all_of_them))
        assert await warehouse.query(query.sql, query.parameters) == [(members, ids)]
    query = preview_query(plan, "nobody", AT)
    assert await warehouse.query(query.sql, query.parameters) == [(0, [])]
    with pytest.raises(KeyError):
        membership_query(plan, "undefined", AT)
