"""analytics.js in headless Chromium, on a shop's pages: what a customer does there is on the log, event by event."""

import os
from pathlib import Path
from typing import Any

import pytest

from schemas.events import Event
from tests.support.client_story import CLIENTS, HOUR_MS, ClientTrial
from tests.support.demo_shop import bundle, customer, shop
from tests.support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.clients]

SINGLE: dict[str, Any] = {}
BATCHING = {
    "integrations": {"Segment.io": {"deliveryStrategy": {"strategy": "batching", "config": {"size": 10, "timeout": 1_000}}}}
}
PAGES = {"/": "Trang chủ", "/san-pham": "Sản phẩm", "/gio-hang": "Giỏ hàng", "/dang-nhap": "Đăng nhập"}
TITLES = {"/": "Trang chủ", "/san-pham": "Áo dài lụa Hà Đông", "/gio-hang": "Giỏ hàng", "/dang-nhap": "Đăng nhập"}
PAGE_VISITS = ("/", "/san-pham", "/gio-hang", "/dang-nhap", "/gio-hang", "/dang-nhap")
TRAITS = {
    "name": "Nguyễn Thị Ánh Tuyết",
    "email": "Tuyet.Nguyen@Thu.VN",
    "phone": "0912 345 678",
    "address": {"city": "Cần Thơ"},
}


def expected_calls(address: str, user: str, first: str, second: str) -> list[tuple[Any, ...]]:
    """Return (type, name, identifiers, properties, traits) of everything that the customer does."""
    visitor, known = (("anonymous_id", first),), (("anonymous_id", first), ("user_id", user))
    pages: list[tuple[Any, ...]] = [
        ("page", PAGES[path], visitor if place < 4 else known,
         {"path": path, "url": address + path, "title": f"{TITLES[path]} · Chợ Quê", "search": "", "name": PAGES[path],
          "category": "Cửa hàng", "referrer": address + PAGE_VISITS[place - 1] if place else ""}, {})
        for place, path in enumerate(PAGE_VISITS)
    ]  # fmt: skip
    named = tuple(sorted((*known, ("email", "tuyet.nguyen@thu.vn"), ("phone", "+84912345678"))))
    tracked = [
        ("Product Clicked", visitor, {"sku": "AD-01"}),
        ("Product Viewed", visitor, {"sku": "AD-01", "tên": "Áo dài lụa Hà Đông", "price": 1_850_000, "coupon": None}),
        ("Product Added", visitor, {"sku": "AD-01", "quantity": 1}),
        ("Coupon Entered", visitor, {"coupon": "TẾT2025"}),
        ("Gift Wrapped", visitor, {"gói": "Giấy dó"}),
        ("Order Completed", known, {"order_id": "DH-1", "total": 1_970_000, "currency": "VND"}),
        ("Logged Out", (("anonymous_id", second),), {}),
    ]
    return [
        *pages,
        *(("track", name, who, properties, {}) for name, who, properties in tracked),
        ("identify", "", named, {}, TRAITS),
        ("group", "", known, {"groupId": f"{user}-cty"}, {"name": "Công ty Hoa Sen"}),
        ("alias", "", known, {"previousId": user}, {}),
        ("screen", "Tài khoản", known, {"điểm": 12}, {}),
    ]


def comparable_event(event: Event) -> tuple[Any, ...]:
    """Return the fields of an event on the log that are compared with the call."""
    return event.type, event.name, event.identifiers, event.properties, event.traits


def told_of(trial: ClientTrial) -> list[tuple[str, str]]:
    """Return (message id, type and name) of all calls that the collector answered with 200."""
    return [(call["messageId"], f"{call['type']} {call.get('event', call.get('name', ''))}") for _, call in trial.proxy.sent()]


def visit(
    trial: ClientTrial,
    browser: str,
    loader: Path,
    options: dict[str, Any],
    *,
    clock_ms: int = 0,
    stays: bool = False,
    leaves: bool = False,
) -> None:
    """Let a customer go through the shop, and compare the log with what the customer did.

    A customer who `stays` leaves the first page only after the collector has accepted its calls.
    A customer who `leaves` ends on another site.
    """
    user = f"{trial.calls[0]['anonymousId']}-KH-7"
    with shop(trial.proxy, user, loader, options) as address:
        told = {
            "shop": address,
            "chromium": browser,
            "clock_ms": clock_ms,
            "stays": stays,
            "leaves": leaves,
            "picture": os.environ.get("ONEFOLD_PICTURE"),
        }
        with customer(told) as seen:
            assert seen["errors"] == []
            assert seen["first"] == seen["same"] != seen["second"]
            expected = expected_calls(address, user, seen["first"], seen["second"])
            arrived = eventually(lambda: dict(told_of(trial)), lambda found: len(found) >= len(expected), within_s=45)
            assert len(arrived) == len(expected)
    events = trial.log()
    # What a page that goes away did not hear the answer to, the next one may send again: by its message id it is the same event.
    assert sorted(event.id for event in events) == sorted(call["messageId"] for _, call in trial.proxy.sent())
    once = {event.id: event for event in events}
    assert sorted(map(comparable_event, once.values()), key=repr) == sorted(expected, key=repr)
    for event in events:
        assert event.received_ms - 60_000 <= event.time_ms <= event.received_ms
        assert event.context["library"]["name"] == "analytics.js"
        # Chromium still says the zone's old name.
        assert event.context["timezone"] in ("Asia/Ho_Chi_Minh", "Asia/Saigon")
        assert event.context["enriched"]["timezone"] == "Asia/Ho_Chi_Minh"
        assert event.context["locale"] == "vi-VN"


@pytest.mark.parametrize("options", [SINGLE, BATCHING], ids=["single", "batching"])
@pytest.mark.parametrize("way", ["classic", "bundle"])
def test_browser_session_events_reach_the_log(
    trial: ClientTrial, browser: str, tmp_path: Path, way: str, options: dict[str, Any]
) -> None:
    visit(trial, browser, CLIENTS / "shop/classic.js" if way == "classic" else bundle(tmp_path / "shop.js", "bundle.mjs"), options)
    posted = {seen.path for seen in trial.proxy.posts}
    assert posted == ({"/v1/b"} if options else {f"/v1/{call}" for call in "tipgas"})
    assert {seen.headers["content-type"] for seen in trial.proxy.posts} == {"text/plain"}
    asked = [seen for seen in trial.proxy.requests if seen.method == "OPTIONS"]
    assert {seen.path for seen in asked} == posted
    assert {seen.status for seen in asked} == {204}


@pytest.mark.parametrize("options", [SINGLE, BATCHING], ids=["single", "batching"])
def test_browser_retries_after_503_without_duplicates(trial: ClientTrial, browser: str, options: dict[str, Any]) -> None:
    trial.proxy.refuse = 1
    visit(trial, browser, CLIENTS / "shop/classic.js", options, stays=True)
    assert trial.proxy.sent(503)
    again = [seen for seen in trial.proxy.requests if seen.method == "POST" and "x-retry-count" in seen.headers]
    assert again


def test_queued_browser_events_are_sent_on_page_unload(trial: ClientTrial, browser: str) -> None:
    late = {"strategy": "batching", "config": {"size": 100, "timeout": 600_000}}
    visit(trial, browser, CLIENTS / "shop/classic.js", {"integrations": {"Segment.io": {"deliveryStrategy": late}}}, leaves=True)
    assert len(trial.proxy.posts) == len(PAGE_VISITS)


def test_a_browsers_wrong_clock_is_corrected(trial: ClientTrial, browser: str) -> None:
    visit(trial, browser, CLIENTS / "shop/classic.js", SINGLE, clock_ms=3 * HOUR_MS)
