"""What one event may tell of a customer: refused at intake with a reason, and by every reader of the topic."""

from typing import Any

import pytest

from schemas.codec import Undecodable, decode, encode
from schemas.event_limits import MAX_EVENT_IDENTIFIERS, MAX_EVENT_TRAITS, MAX_TRAIT_BYTES, find_excess
from schemas.events import Event
from schemas.reasons import Reason
from tests.support.events import event

LARGEST = "x" * (MAX_TRAIT_BYTES - 2)
TOO_MUCH = [
    ({f"trait {number}": 1 for number in range(MAX_EVENT_TRAITS + 1)}, Reason.TOO_MANY_PROPERTIES),
    ({"ghi chú": LARGEST + "x"}, Reason.TOO_LARGE),
    ({"ghi chú": "ữ" * (MAX_TRAIT_BYTES // 3)}, Reason.TOO_LARGE),
    ({"ghi chú": "\x01" * (MAX_TRAIT_BYTES // 6 + 1)}, Reason.TOO_LARGE),
    ({"sở thích": ["bóng đá"] * 1_000}, Reason.TOO_LARGE),
    ({"địa chỉ": {"phố": LARGEST}}, Reason.TOO_LARGE),
]
WITHIN: list[dict[str, Any]] = [
    {},
    {f"trait {number}": None for number in range(MAX_EVENT_TRAITS)},
    {"ghi chú": LARGEST, "điểm": 1.5, "vip": True},
    {"sở thích": ["bóng đá"] * 300},
]


@pytest.mark.parametrize(("traits", "reason"), TOO_MUCH)
def test_too_much_is_refused_with_the_field_and_without_the_value(traits: dict[str, Any], reason: Reason) -> None:
    excess = find_excess(traits, 1)
    assert excess is not None
    assert (excess.reason, excess.path) == (reason, "traits")
    with pytest.raises(Undecodable) as refused:
        decode(Event, encode(event({"user_id": "u"}, id="m", type="identify", traits=traits)))
    assert refused.value.reason == reason
    assert "bóng đá" not in str(refused.value)


@pytest.mark.parametrize("traits", WITHIN)
def test_what_is_within_the_limits_is_read(traits: dict[str, Any]) -> None:
    whole = event({"user_id": "u"}, id="m", type="identify", traits=traits)
    assert decode(Event, encode(whole)) == whole


def test_an_event_of_too_many_identifiers_is_refused() -> None:
    assert find_excess({}, MAX_EVENT_IDENTIFIERS) is None
    assert find_excess({}, MAX_EVENT_IDENTIFIERS + 1) is not None
