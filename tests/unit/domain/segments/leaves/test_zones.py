"""Time zones: which ones a customer's trait and a definition may name."""

from typing import Any

import pytest

from domain.definitions.kinds import InvalidDefinition
from domain.segments.leaves.calendar import iana_zones, zone_of
from tests.support.segments import segment


def calendar(zone: str) -> dict[str, Any]:
    return {"calendar": {"trait": "birthday", "zone": zone}}


@pytest.mark.parametrize(
    "value",
    [None, "", 7, True, ["Asia/Ho_Chi_Minh"], {"name": "UTC"}, "Mars/Olympus", "../UTC", "a\0b", "Asia", "right/UTC", "localtime"],
)
def test_a_value_that_names_no_zone_leaves_the_default(value: object) -> None:
    assert zone_of(value, "Asia/Ho_Chi_Minh").key == "Asia/Ho_Chi_Minh"


def test_a_zone_is_that_of_its_name() -> None:
    assert zone_of("Europe/Berlin", "UTC").key == "Europe/Berlin"


@pytest.mark.parametrize("zone", ["localtime", "right/UTC", "Mars/Olympus", ""])
def test_a_definition_may_name_only_zones_that_are_the_same_on_every_machine(zone: str) -> None:
    """`localtime` is the worker machine's own zone: the stream would follow it, and the SQL would take UTC."""
    with pytest.raises(InvalidDefinition, match=r"calendar\.zone: not a time zone: name one of the IANA database"):
        segment("birthdays", calendar(zone))


def test_every_zone_that_a_trait_may_name_may_be_named_by_a_definition() -> None:
    for zone in ("UTC", "Asia/Ho_Chi_Minh", "Europe/Berlin", "Etc/GMT+12"):
        assert zone in iana_zones()
        segment("birthdays", calendar(zone))
