"""A wait until ClickHouse has consumed the records that the caller is about to read."""

from collections.abc import Mapping

import pytest

from warehouse.consumed import ClickHouseBehind, wait_until_consumed


class FakeOffsets:
    """A stand-in for the warehouse: each query returns the next consumed offsets of its topic, and then the final ones."""

    def __init__(self, **readings: list[dict[int, int]]) -> None:
        self.readings = readings

    async def read(self, topic: str) -> Mapping[int, int]:
        readings = self.readings[topic]
        return readings.pop(0) if len(readings) > 1 else readings[0]


async def test_wait_ends_once_every_topic_has_been_consumed() -> None:
    offsets = FakeOffsets(events=[{}, {0: 4}, {0: 5, 1: 9}], links=[{0: 1}])
    required = {"events": {0: 5, 1: 9}, "links": {0: 1}}
    await wait_until_consumed(offsets.read, required, consequence="nothing was changed", timeout_s=60, poll_s=0.001)
    assert offsets.readings["events"] == [{0: 5, 1: 9}]


async def test_a_partition_without_records_is_consumed() -> None:
    await wait_until_consumed(FakeOffsets(events=[{}]).read, {"events": {0: 0}}, consequence="", timeout_s=0)


async def test_a_consumer_that_stays_behind_is_named_with_its_partition_lag_and_command() -> None:
    offsets = FakeOffsets(events=[{0: 3}], groups=[{2: 100}])
    required = {"events": {0: 5}, "groups": {2: 1_350}}
    with pytest.raises(ClickHouseBehind) as raised:
        await wait_until_consumed(offsets.read, required, consequence="nothing was changed", timeout_s=0)
    error = raised.value
    assert error.topic == "groups"
    assert error.partition == 2
    assert error.consumed == 100
    assert error.required == 1_350
    assert error.lag == 1_250
    for fact in ("1,250 records behind", "groups partition 2", "offset 100", "onefold status", "nothing was changed"):
        assert fact in str(error)
