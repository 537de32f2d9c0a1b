from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import (
    InstantReading,
    check_date_format,
    instant_ms,
    iso_instant,
    read_day,
    read_day_or_instant,
)

HANOI = InstantReading(ZoneInfo("Asia/Ho_Chi_Minh"), day_first=True)
MONTH_FIRST = InstantReading(ZoneInfo("Asia/Ho_Chi_Minh"), day_first=False)
HALF_PAST_TWO = "2025-06-15T07:30:00.000Z"
MIDNIGHT = "2025-06-14T17:00:00.000Z"


def read(value: Any, reading: InstantReading = HANOI) -> str | None:
    at_ms = instant_ms(value, reading)
    return None if at_ms is None else iso_instant(at_ms)


@pytest.mark.parametrize(
    "written",
    [
        "2025-06-15T14:30", "2025-06-15 14:30:00", "2025-06-15T14:30:00.000", "20250615T143000", "2025/06/15 14:30",
        "2025/6/15 14:30:00",
        "2025.06.15 14:30", "20250615143000", 20250615143000, "20250615143000000", "15/06/2025 14:30",
        "15-6-2025 14:30:00", "15.06.2025, 14:30", "14:30 15/06/2025", "14:30:00 15-06-2025", "14h30 15/06/2025",
        "15/06/2025 2:30 PM",
        "15/06/2025 2:30:00 pm", "15/06/2025 02:30 CH", "15/06/2025 2:30 p.m.", "15 Jun 2025 14:30:00", "15-Jun-2025 14:30",
        "June 15, 2025 2:30 PM", "Jun 15th, 2025, 2:30\u202fPM", "Sunday, June 15, 2025 at 2:30 PM", "15 tháng 6, 2025 14:30",
        "14:30 ngày 15 tháng 6 năm 2025", "Chủ nhật, 15/06/2025 14:30", "Sun Jun 15 14:30:00 2025",
    ],
)  # fmt: skip
def test_a_local_time_is_in_the_readers_zone_however_it_is_written(written: Any) -> None:
    assert read(written) == HALF_PAST_TWO


@pytest.mark.parametrize(
    "written",
    [
        "2025-06-15T07:30:00Z", "2025-06-15t07:30:00z", "2025-06-15 07:30:00 UTC", "2025-06-15 14:30:00 +0700",
        "2025-06-15 14:30 +07:00",
        "2025-06-15T14:30:00+07", "2025/06/15 07:30:00 GMT", "Sun, 15 Jun 2025 14:30:00 +0700", "Sun, 15 Jun 2025 07:30:00 GMT",
        "15 Jun 2025 07:30 -0000", "Sun Jun 15 2025 14:30:00 GMT+0700 (Indochina Time)", "Sun Jun 15 14:30:00 +0700 2025",
        "Sun Jun 15 07:30:00 UTC 2025", "2025-06-15T14:30:00+07:00[Asia/Ho_Chi_Minh]",
        "15/06/2025 14:30 GMT+7", 1749972600, 1749972600.0,
        "1749972600", 1749972600000, "1749972600000", 1749972600000000, 1749972600000000000, "1749972600.000", "20250615T073000Z",
    ],
)  # fmt: skip
def test_an_instant_that_names_its_zone_or_is_an_epoch_needs_none(written: Any) -> None:
    assert read(written) == HALF_PAST_TWO


@pytest.mark.parametrize(
    "written",
    [
        "2025-06-15",
        "20250615",
        20250615,
        "2025/06/15",
        "15/06/2025",
        "15-06-2025",
        "15 Jun 2025",
        "June 15, 2025",
        "2025-06-15+07:00",
        "2025.06.15",
    ],
)
def test_a_day_begins_at_the_readers_midnight(written: Any) -> None:
    assert read(written) == MIDNIGHT


@pytest.mark.parametrize(
    "written",
    [
        45823.6, 45823, "45823.6", "45823", 0, 1, -1, 1000, 99_999_999, 20251315, 20250230, "20250230", "20251301000000", 2025,
        2025166,
        10**10, 10**13, 10**20, 1e30, True, None, "", "x", {}, [], "hôm qua", "2025", "2025-06", "15/06/25", "15/06", "31/02/2025",
        "06/15/2025", "2025-13-01", "14:30", "2025-06-15 25:00", "15/06/2025 14:30 AM", "2025-06-15 14:30 ICT", "2025-06-15 14:60",
        "15/06-2025", "15/06/2025 14:30 +99:99", "0001-01-01", "1969-12-31T23:59:59Z", "15/06/1925",
        "9" * 100,
        "202506151430", 202506151430, float("nan"), float("inf"), "0175000000", "\u0665" * 10,
    ],
)  # fmt: skip
def test_what_may_mean_no_instant_or_several_is_refused(written: Any) -> None:
    assert read(written) is None


def test_the_order_of_day_and_month_must_be_known() -> None:
    assert read("05/06/2025") == "2025-06-04T17:00:00.000Z"
    assert read("05/06/2025", MONTH_FIRST) == "2025-05-05T17:00:00.000Z"
    assert instant_ms("05/06/2025") is None
    assert instant_ms("15/06/2025") is None


def test_local_times_keep_their_milliseconds() -> None:
    for fraction in range(1000):
        assert read(f"2025-06-15 14:30:00.{fraction:03}") == f"2025-06-15T07:30:00.{fraction:03}Z"
        assert read(f"15/06/2025 14:30:00,{fraction:03}") == f"2025-06-15T07:30:00.{fraction:03}Z"
        assert read(1749972600 + fraction / 1000) == f"2025-06-15T07:30:00.{fraction:03}Z"
    assert read("1749972600.1239") == "2025-06-15T07:30:00.123Z"


@pytest.mark.parametrize(
    ("value", "text_format", "expected"),
    [
        ("15/06/25", "%d/%m/%y", MIDNIGHT), ("06-15-25 02:30 PM", "%m-%d-%y %I:%M %p", HALF_PAST_TWO), (250615, "%y%m%d", MIDNIGHT),
        ("15/06/2025", "%d/%m/%y", None), ("2025-06-15T14:30:00 +0700", "%Y-%m-%dT%H:%M:%S %z", HALF_PAST_TWO),
        (45823, "serial", MIDNIGHT),
        (45823.6041666667, "serial", HALF_PAST_TWO), ("45823,6041666667", "serial", HALF_PAST_TWO), (60, "serial", None),
        ("15/06/2025", "serial", None), (86400, "epoch_seconds", "1970-01-02T00:00:00.000Z"), ("5", "epoch_ms",
        "1970-01-01T00:00:00.005Z"),
        (True, "serial", None), (-1, "epoch_ms", None), ("1_0", "epoch_ms", None), (10**30, "epoch_ms", None),
        ({}, "%d/%m/%y", None),
        (float("nan"), "serial", None),
    ],
)  # fmt: skip
def test_a_stated_format_is_read_and_nothing_else(value: Any, text_format: str, expected: str | None) -> None:
    assert check_date_format(text_format) == text_format
    assert read(value, InstantReading(ZoneInfo("Asia/Ho_Chi_Minh"), day_first=True, format=text_format)) == expected


@pytest.mark.parametrize("text_format", ["", "%H:%M", "%d/%m", "%Y", "dd/mm/yyyy", "%d/%m/%Y %Z", "%c", "%d/%m/%Y %", "%x", "now"])
def test_a_format_that_names_no_day_or_depends_on_the_machine_is_refused(text_format: str) -> None:
    with pytest.raises(ValueError, match="a format is"):
        check_date_format(text_format)


@pytest.mark.parametrize(
    ("written", "day", "day_or_instant"),
    [
        ("15/06/1990", "1990-06-15", "1990-06-15"), ("15/06/1890 00:00", "1890-06-15", None), ("19900615", "1990-06-15",
        "1990-06-15"),
        ("2025-06-15 14:30", "2025-06-15", HALF_PAST_TWO), ("2025-06-15T07:30:00Z", None, HALF_PAST_TWO),
        (1749972600, None, HALF_PAST_TWO),
        ("9999-12-31", "9999-12-31", "9999-12-31"), ("mùa thu 1990", None, None), ("15/06/90", None, None),
    ],
)  # fmt: skip
def test_days_stay_days(written: Any, day: str | None, day_or_instant: str | None) -> None:
    assert read_day(written, HANOI) == day
    assert read_day_or_instant(written, HANOI) == day_or_instant


def test_iso_instants_end_with_the_year_9999() -> None:
    assert iso_instant(-1) is None
    assert iso_instant(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"
    assert iso_instant(253_402_300_800_000) is None
    assert read("9999-12-31T23:59:59Z") == "9999-12-31T23:59:59.000Z"
    assert read("9999-12-31T23:59:59-01:00") is None


@given(st.text(max_size=90) | st.text(alphabet="0123456789-/:. TZ+APMJunSat,", max_size=30) | st.integers() | st.floats())
def test_no_value_makes_it_raise(value: Any) -> None:
    for reading in (HANOI, InstantReading(), InstantReading(format="serial"), InstantReading(format="%d/%m/%y")):
        instant_ms(value, reading)
        read_day(value, reading)
        read_day_or_instant(value, reading)


@given(st.integers(10**8 * 1000, 10**13 - 1))
def test_every_way_to_write_an_instant_is_the_same_instant(at_ms: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    fraction = f"{at_ms % 1000:03}"
    spellings = [
        at.isoformat(),
        f"{at:%Y%m%d%H%M%S}{fraction}",
        f"{at:%Y/%m/%d %H:%M:%S}.{fraction} UTC",
        f"{at:%a, %d %b %Y %H:%M:%S}.{fraction} GMT",
        f"{at:%d/%m/%Y %I:%M:%S}.{fraction} {at:%p}",
        f"{at_ms // 1000}.{fraction}",
    ]
    for written in spellings:
        assert instant_ms(written, InstantReading(day_first=True)) == at_ms, written


@pytest.mark.parametrize(
    "value", ["15/06-2025", "2025-06.15", "2025-000", 10**400, -(10**400), "\ud800", "2025-06-15T\udfff", "10:00" + " " * 74 + "x"]
)
def test_what_has_no_form_of_a_time_is_none(value: Any) -> None:
    assert read(value) is None
    assert read(value, InstantReading(format="serial")) is None
    assert read_day_or_instant(value) is None


def test_digits_of_every_script_and_spaces_of_every_kind_are_read() -> None:
    full_width = "15/06/2025 14:30".translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    assert read(full_width) == read("15/06/2025\u3000 \t14:30") == HALF_PAST_TWO
