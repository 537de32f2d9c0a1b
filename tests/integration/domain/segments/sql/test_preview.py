"""A preview counts all members and names some."""

import pytest

from warehouse.client import Warehouse
from domain.segments.plan import Plan
from domain.segments.sql import membership
from domain.segments.sql.preview import size_and_sample
from tests.support.segments import happened, segment
from tests.support.sql_stream_comparison import keep

pytestmark = pytest.mark.clickhouse
AT = 1_772_323_200_000


async def test_a_preview_counts_all_and_names_some(warehouse: Warehouse) -> None:
    events = [happened("Cart Updated", AT, identifiers={"user_id": f"người-{number}"}) for number in range(40)]
    await keep(warehouse, events)
    all_of_them = sorted(one.owner for one in events)
    leaf = {"all": [{"did": {"event": "Cart Updated"}}, {"trait": {"path": "a.b", "op": "exists", "value": False}}]}
    plan = Plan([segment("carts", leaf), segment("nobody", {"did": {"event": "none"}})])
    for sample, shown in ((1, 1), (10, 10), (40, 40), (1_000, 40), (0, 1)):
        query = size_and_sample(plan, "carts", AT, sample)
        [(members, ids)] = await warehouse.rows(query.sql, query.parameters)
        assert (members, len(ids), ids) == (40, shown, sorted(set(ids) & set(all_of_them)))
        assert await warehouse.rows(query.sql, query.parameters) == [(members, ids)]
    query = size_and_sample(plan, "nobody", AT)
    assert await warehouse.rows(query.sql, query.parameters) == [(0, [])]
    with pytest.raises(KeyError):
        membership(plan, "undefined", AT)
