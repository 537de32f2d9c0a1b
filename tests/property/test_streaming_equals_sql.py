"""Streaming equals SQL, over random definitions, random histories and random instants, on the real engine.

A verdict says who is in one segment, for one history (of up to three people whose identifiers merge and split), at one instant.
"""

import os

import pytest

from domain.profiles import bounds
from tests.support.rounds import rounds
from tests.support.segment_sql_comparison import ComparisonBatch, compare_answers, query_sql
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
ROUNDS = int(os.environ.get("ONEFOLD_LAWS_ROUNDS", "1"))
FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
VERDICTS = 14_000
"""The least number of comparisons in each batch."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + rounds(quick=2, thorough=6) * ROUNDS))
async def test_streaming_equals_sql(seed: int, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQL reads all of history, however little of it a fragment has places for.
    for name in ("MAX_TRAITS", "MAX_COUNTERS", "MAX_IDENTIFIERS") if seed % 2 else ():
        monkeypatch.setattr(bounds, name, 1)
    batch = ComparisonBatch(seed)
    compared, true = compare_answers(batch, await query_sql(batch, warehouse))
    assert compared >= VERDICTS
    assert compared / 10 < true < compared * 9 / 10, "nearly all verdicts are the same: they show little"
