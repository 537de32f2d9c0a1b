"""The zone that a customer's trait names."""

import pytest

from domain.segments.evaluate import zone_of


@pytest.mark.parametrize(
    "value",
    [None, "", 7, True, ["Asia/Ho_Chi_Minh"], {"name": "UTC"}, "Mars/Olympus", "../UTC", "a\0b", "Asia", "right/UTC", "localtime"],
)
def test_a_value_that_names_no_zone_leaves_the_default(value: object) -> None:
    assert zone_of(value, "Asia/Ho_Chi_Minh").key == "Asia/Ho_Chi_Minh"


def test_a_zone_is_that_of_its_name() -> None:
    assert zone_of("Europe/Berlin", "UTC").key == "Europe/Berlin"
