from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.zone_offsets import zone_offsets

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time
ZONES = ("Asia/Ho_Chi_Minh", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "UTC")


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2299, 12, 30)),  # noqa: DTZ001 - local times
    st.sampled_from(ZONES),
)
def test_the_table_says_what_the_database_of_zones_says(local: datetime, zone: str) -> None:
    local = local.replace(microsecond=local.microsecond // 1000 * 1000)
    local_ms = (local - EPOCH) // timedelta(milliseconds=1)
    expected_ms = (local.replace(tzinfo=ZoneInfo(zone)) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert local_ms - zone_offsets(zone).offset_at(local_ms) == expected_ms


@pytest.mark.parametrize("zone", ZONES)
def test_it_holds_to_the_second_where_the_clock_changes(zone: str) -> None:
    starts_ms, _ = zone_offsets(zone)
    for start_ms in starts_ms[1:60]:
        for local_ms in (start_ms - 1000, start_ms):
            local = (EPOCH + timedelta(milliseconds=local_ms)).replace(tzinfo=ZoneInfo(zone))
            offset = local.utcoffset()
            assert offset is not None
            assert zone_offsets(zone).offset_at(local_ms) == offset // timedelta(milliseconds=1)


def test_outside_of_the_table_the_nearest_offset_holds() -> None:
    offsets = zone_offsets("Asia/Ho_Chi_Minh")
    assert offsets.offset_at(-(10**15)) == offsets.offsets_ms[0]
    assert offsets.offset_at(10**15) == 7 * 3_600_000
