"""RudderStack's SDK in headless Chromium, on a shop's pages: what a customer does there is on the log, event by event."""

from pathlib import Path
from typing import Any

import pytest

from schemas.events import Event
from tests.support.client_story import HOUR_MS, ClientTrial
from tests.support.demo_shop import bundle, customer, shop
from tests.support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.clients]

PAGES = {"/": "Trang chủ", "/san-pham": "Sản phẩm", "/gio-hang": "Giỏ hàng", "/dang-nhap": "Đăng nhập"}
TITLES = {**PAGES, "/san-pham": "Áo dài lụa Hà Đông"}
PAGE_VISITS = ("/", "/san-pham", "/gio-hang", "/dang-nhap", "/gio-hang", "/dang-nhap")
TRAITS = {
    "name": "Nguyễn Thị Ánh Tuyết",
    "email": "Tuyet.Nguyen@Thu.VN",
    "phone": "0912 345 678",
    "address": {"city": "Cần Thơ"},
}
BEACON = {"useBeacon": True}
RETRY_HEADERS = {"rsa-retry-attempt", "rsa-retry-reason", "rsa-since-first-attempt", "rsa-since-last-attempt"}


def expected_calls(address: str, user: str, first: str, second: str) -> list[tuple[Any, ...]]:
    """Return (type, name, identifiers, properties, traits) of everything that the customer does. The SDK leaves nulls out."""
    visitor, known = (("anonymous_id", first),), (("anonymous_id", first), ("user_id", user))
    domain = address.removeprefix("http://")
    pages: list[tuple[Any, ...]] = [
        ("page", PAGES[path], visitor if place < 4 else known,
         {"path": path, "url": address + path, "tab_url": address + path, "title": f"{TITLES[path]} · Chợ Quê", "search": "",
          "name": PAGES[path], "category": "Cửa hàng", "referrer": address + PAGE_VISITS[place - 1] if place else "$direct",
          "referring_domain": domain if place else "", "initial_referrer": "$direct", "initial_referring_domain": ""}, {})
        for place, path in enumerate(PAGE_VISITS)
    ]  # fmt: skip
    named = tuple(sorted((*known, ("email", "tuyet.nguyen@thu.vn"), ("phone", "+84912345678"))))
    tracked = [
        ("Product Clicked", visitor, {"sku": "AD-01"}),
        ("Product Viewed", visitor, {"sku": "AD-01", "tên": "Áo dài lụa Hà Đông", "price": 1_850_000}),
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
    ]


def comparable_event(event: Event) -> tuple[Any, ...]:
    """Return the fields of an event on the log that are compared with the call."""
    return event.type, event.name, event.identifiers, event.properties, event.traits


def visit(trial: ClientTrial, browser: str, loader: Path, options: dict[str, Any], *, clock_ms: int = 0) -> None:
    """Let a customer go through the shop, and compare the log with what the customer did.

    With beacons the customer is never offline, and ends on another site; otherwise the shop's pages are offline for a while.
    """
    user = f"{trial.calls[0]['anonymousId']}-KH-7"
    with shop(trial.proxy, user, bundle(loader, "rudder.mjs"), options) as address:
        told = {"shop": address, "chromium": browser, "clock_ms": clock_ms, "stays": False, "leaves": bool(options), "rudder": True}
        with customer(told) as seen:
            assert seen["errors"] == []
            assert seen["first"] == seen["same"] != seen["second"]
            expected = expected_calls(address, user, seen["first"], seen["second"])
            # What a page left behind, the SDK on the next page sends after ten seconds.
            arrived = eventually(
                lambda: {call["messageId"] for _, call in trial.proxy.sent()}, lambda ids: len(ids) >= len(expected), within_s=60
            )
            assert len(arrived) == len(expected)
    events = {event.id: event for event in trial.log()}
    assert set(events) == arrived
    assert sorted(map(comparable_event, events.values()), key=repr) == sorted(expected, key=repr)
    for event in events.values():
        assert event.received_ms - 90_000 <= event.time_ms <= event.received_ms
        assert event.context["library"]["name"] == "RudderLabs JavaScript SDK"
        assert event.context["locale"] == "vi-VN"


def test_rudderstack_session_events_reach_the_log(trial: ClientTrial, browser: str, tmp_path: Path) -> None:
    visit(trial, browser, tmp_path / "rudder.js", {})
    assert {seen.path for seen in trial.proxy.posts} == {f"/v1/{call}" for call in ("track", "identify", "page", "group", "alias")}
    asked = [seen for seen in trial.proxy.requests if seen.method == "OPTIONS"]
    assert {seen.status for seen in asked} == {204}
    configured = [seen for seen in trial.proxy.requests if seen.method == "GET"]
    assert {(seen.path.partition("?")[0], seen.status) for seen in configured} == {("/sourceConfig/", 200)}
    # It waited offline, so it was sent again, with headers that the first attempt does not have.
    requested = {name for seen in asked for name in seen.headers["access-control-request-headers"].split(",")}
    assert requested >= RETRY_HEADERS


def test_rudderstack_beacons_reach_the_log(trial: ClientTrial, browser: str, tmp_path: Path) -> None:
    visit(trial, browser, tmp_path / "rudder.js", BEACON)
    assert {seen.path.partition("?")[0] for seen in trial.proxy.posts} == {"/beacon/v1/batch"}


def test_rudderstack_retries_after_503(trial: ClientTrial, browser: str, tmp_path: Path) -> None:
    trial.proxy.refuse = 2
    visit(trial, browser, tmp_path / "rudder.js", {})
    refused = {call["messageId"] for _, call in trial.proxy.sent(503)}
    assert refused
    assert refused <= {call["messageId"] for _, call in trial.proxy.sent()}


def test_a_wrong_clock_of_rudderstack_is_corrected(trial: ClientTrial, browser: str, tmp_path: Path) -> None:
    visit(trial, browser, tmp_path / "rudder.js", {}, clock_ms=3 * HOUR_MS)
