import json
import unicodedata
from collections import Counter
from datetime import date
from itertools import islice

from demo.customers import PRODUCTS
from demo.simulation import Action, DemoCall, DemoTouchpoint, Simulation
from domain.identity.identifier_values import normalise

TODAY = date(2026, 11, 22)


def first(count: int, seed: int = 7, run: str = "r") -> list[Action]:
    return list(islice(Simulation(seed, run, TODAY).actions(), count))


def test_the_same_seed_gives_the_same_customers() -> None:
    assert first(3_000) == first(3_000)
    assert first(300) != first(300, seed=8)


def test_two_runs_share_no_message_and_no_customer() -> None:
    one, other = ({a.message_id for a in first(2_000, run=run) if isinstance(a, DemoCall)} for run in ("a", "b"))
    assert not one & other
    assert not {a.user_id for a in first(2_000, run="a") if isinstance(a, DemoCall) and a.user_id} & {
        a.user_id for a in first(2_000, run="b") if isinstance(a, DemoCall) and a.user_id
    }


def test_the_day_holds_all_that_the_demo_is_to_show() -> None:
    actions = first(4_000)
    calls = [action for action in actions if isinstance(action, DemoCall)]
    names = Counter(call.name for call in calls)
    assert {"Product Viewed", "Product Added", "Order Completed"} <= names.keys()
    assert any(call.user_id is None for call in calls)
    devices: dict[str, set[str]] = {}
    for call in calls:
        if call.user_id is not None:
            devices.setdefault(call.user_id, set()).add(call.anonymous_id)
    assert any(len(results) == 2 for results in devices.values())
    assert max(Counter(call.message_id for call in calls).values()) > 1
    touchpoints = [action for action in actions if isinstance(action, DemoTouchpoint)]
    assert {t.body["event"] for t in touchpoints if t.body is not None} == {"call_started", "call_ended"}
    assert any(t.body is None for t in touchpoints)


def test_people_are_vietnamese_and_can_be_reached() -> None:
    for call in first(2_000):
        if isinstance(call, DemoCall) and call.kind == "identify":
            assert call.traits["name"] == unicodedata.normalize("NFC", call.traits["name"])
            assert normalise("email", call.traits["email"], "VN") == call.traits["email"]
            assert (normalise("phone", call.traits["phone"], "VN") or "").startswith("+84")


def test_some_have_their_birthday_and_all_have_one() -> None:
    born = {
        call.user_id: date.fromisoformat(call.traits["birthday"])
        for call in first(4_000)
        if isinstance(call, DemoCall) and call.traits
    }
    today = [day for day in born.values() if (day.month, day.day) == (TODAY.month, TODAY.day)]
    assert 0.05 < len(today) / len(born) < 0.25
    assert all(1960 <= day.year < 2008 for day in born.values())


def test_a_demo_on_a_leap_day_has_birthdays_too() -> None:
    actions = islice(Simulation(7, "r", date(2028, 2, 29)).actions(), 2_000)
    assert any(action.traits["birthday"].endswith("-02-29") for action in actions if isinstance(action, DemoCall) and action.traits)


def test_prices_are_whole_dong() -> None:
    assert all(product.price % 1_000 == 0 for product in PRODUCTS)


def test_a_touchpoint_is_json_with_its_time_unless_it_was_garbled() -> None:
    spoken = json.loads(DemoTouchpoint({"event": "call_ended", "queue": "Bảo hành"}).record_value(0))
    assert spoken == {"event": "call_ended", "queue": "Bảo hành", "timestamp": "1970-01-01T00:00:00.000+00:00"}
    assert b"call_en" in DemoTouchpoint(None).record_value(0)
