"""What enrichment adds, and that it adds nothing but that."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.intake.enrichment import arrival, timezones, user_agent
from domain.intake.enrichment.enrich import enrich
from domain.intake.enrichment.geoip import cached_locator, geo_location
from domain.intake.enrichment.spec import EnrichSpec
from runtime.geoip import open_locator
from schemas.codec import decode, encode
from schemas.events import Event
from tests.support.events import event
from tests.support.geoip_file import HANOI, geoip_file
from tests.support.rounds import rounds

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
ZALO = (
    "Mozilla/5.0 (Linux; Android 13; SM-A125F Build/TP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124 Mobile "
    "Safari/537.36 Zalo android/24040302 ZaloTheme/light ZaloLanguage/vi"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
HEADLESS = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/124.0 Safari/537.36"
NOTHING = EnrichSpec(user_agent=False, bots=False, campaign=False, referrer=False, geo=False, timezone=False)


def of(context: Mapping[str, Any]) -> Event:
    return event({"user_id": "u"}, id="1", name="Viewed", context=context)


def enriched(context: Mapping[str, Any]) -> Any:
    return enrich(of(context)).context.get("enriched", {})


def test_a_user_agent_tells_browser_system_and_device() -> None:
    assert enriched({"userAgent": SAFARI}) == {
        "browser": {"name": "Mobile Safari", "version": "17.5"},
        "os": {"name": "iOS", "version": "17.5"},
        "device": {"name": "iPhone", "brand": "Apple", "model": "iPhone"},
    }
    assert enriched({"userAgent": ZALO})["os"] == {"name": "Android", "version": "13"}


@pytest.mark.parametrize("agent", [GOOGLEBOT, HEADLESS, "facebookexternalhit/1.1"])
def test_a_program_is_flagged(agent: str) -> None:
    assert enrich(of({"userAgent": agent})).flags == ("bot",)


@pytest.mark.parametrize("agent", [SAFARI, ZALO, "okhttp/4.12.0", "Dart/3.4 (dart:io)", GMAIL, "", "x" * 50_000])
def test_a_person_is_not_flagged_nor_an_app_by_its_library(agent: str) -> None:
    assert enrich(of({"userAgent": agent})).flags == ()


def test_a_campaign_is_read_from_the_address_as_clients_would_send_it() -> None:
    url = "https://cho-que.vn/áo-dài?utm_campaign=T%E1%BA%BFt%202026&utm_source=zalo&utm_medium=cpc&utm_source=other&utm_id=7#utm_term=no"
    assert enrich(of({"page": {"url": url}})).context["campaign"] == {
        "name": "Tết 2026", "source": "zalo", "medium": "cpc", "id": "7",
    }  # fmt: skip


def test_what_the_client_says_of_campaign_and_referrer_stays() -> None:
    said = {
        "campaign": {"name": "own"},
        "referrer": {"type": "own"},
        "page": {"url": "https://a.vn/?utm_source=x", "referrer": "https://google.com/"},
    }
    assert enrich(of(said)).context == said


def test_empty_list_for_campaign_or_referrer_is_absent() -> None:
    page = {"url": "https://a.vn/?utm_source=zalo", "referrer": "https://google.com/"}
    assert enrich(of({"campaign": [], "referrer": [], "page": page})).context == enrich(of({"page": page})).context


def test_a_click_of_an_advertising_network_is_noted() -> None:
    assert enriched({"page": {"url": "https://a.vn/?x=1&fbclid=abc"}}) == {"click": {"network": "facebook", "id": "abc"}}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://www.google.com.vn/", {"type": "search", "name": "Google", "domain": "google.com.vn"}),
        ("https://coccoc.com/search?query=x", {"type": "search", "name": "Cốc Cốc", "domain": "coccoc.com"}),
        ("https://l.facebook.com/l.php", {"type": "social", "name": "Facebook", "domain": "l.facebook.com"}),
        ("https://chat.zalo.me/", {"type": "social", "name": "Zalo", "domain": "chat.zalo.me"}),
        ("https://t.co/abc", {"type": "social", "name": "X", "domain": "t.co"}),
        ("https://mail.google.com/mail", {"type": "email", "name": "Gmail", "domain": "mail.google.com"}),
        ("android-app://com.google.android.gm/", {"type": "email", "name": "Gmail", "domain": "com.google.android.gm"}),
        ("https://chatgpt.com/", {"type": "ai", "name": "ChatGPT", "domain": "chatgpt.com"}),
        ("https://accounts.google.com/", {"type": "other", "name": "Google", "domain": "accounts.google.com"}),
        ("https://google.evil.com/", {"type": "other", "domain": "google.evil.com"}),
        ("https://notfacebook.com/", {"type": "other", "domain": "notfacebook.com"}),
        ("https://shop.vn/cart", {"type": "internal", "domain": "shop.vn"}),
        ("javascript:alert(1)", {}),
        ("https://[broken", {}),
    ],
)
def test_a_referrer_is_of_a_kind(url: str, said: dict[str, str]) -> None:
    assert arrival.classify_referrer(url, "https://www.shop.vn/") == said


def test_an_old_zone_has_the_name_of_today() -> None:
    assert enriched({"timezone": "Asia/Saigon"}) == {"timezone": "Asia/Ho_Chi_Minh"}
    assert enriched({"timezone": "Asia/Calcutta"}) == {"timezone": "Asia/Kolkata"}
    assert enrich(of({"timezone": "Asia/Saigon"})).context["timezone"] == "Asia/Saigon"
    assert timezones.current_name("Asia/Ho_Chi_Minh") == "Asia/Ho_Chi_Minh"
    assert timezones.parse_links("L A B\nL B C\nZ D 7 - X\n") == {"B": "A", "C": "A"}


def test_an_address_is_located_by_the_database_alone(tmp_path: Path) -> None:
    record_of = open_locator(geoip_file(tmp_path))
    assert record_of is not None
    locate = cached_locator(record_of)
    located = enrich(of({"ip": "203.0.113.9"}), locate=locate).context["enriched"]["location"]
    assert located == {
        "country": "VN", "region": "VN-HN", "city": "Hanoi", "latitude": 21.0, "longitude": 105.8, "timezone": "Asia/Bangkok",
    }  # fmt: skip
    assert enrich(of({"ip": "198.51.100.1"}), locate=locate).context["enriched"] == {"location": {"country": "DE"}}
    assert enrich(of({"ip": "192.0.2.1"}), locate=locate).context == {"ip": "192.0.2.1"}
    assert enriched({"ip": "203.0.113.9"}) == {}
    assert locate("1" * 10_000) == {}


def test_each_part_can_be_switched_off() -> None:
    said = of(
        {
            "userAgent": GOOGLEBOT,
            "timezone": "Asia/Saigon",
            "page": {"url": "https://a.vn/?utm_source=x", "referrer": "https://t.co/"},
        }
    )
    assert enrich(said, NOTHING, lambda _: geo_location(HANOI)) is said
    assert enrich(said, NOTHING.model_copy(update={"bots": True})).flags == ("bot",)


def test_enrichment_namespace_is_reserved() -> None:
    assert enrich(of({"enriched": {"location": {"country": "XX"}}})).context == {}


_TEXT = st.text(max_size=20) | st.sampled_from(
    [SAFARI, GOOGLEBOT, "Asia/Saigon", "https://a.vn/?utm_source=%ff&gclid=1", "https://t.co/"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["url", "referrer", "a"]), inner, max_size=3),
    max_leaves=6,
)
CONTEXTS = st.dictionaries(
    st.sampled_from(["userAgent", "ip", "page", "timezone", "campaign", "referrer", "enriched", "locale"]), _JSON, max_size=6
)
SPECS = st.builds(EnrichSpec, **{name: st.booleans() for name in EnrichSpec.model_fields})


@settings(max_examples=rounds(quick=100, thorough=300), deadline=None)
@given(CONTEXTS, SPECS)
def test_nothing_that_was_sent_is_changed_and_doing_it_again_changes_nothing(context: dict[str, Any], spec: EnrichSpec) -> None:
    before = copy.deepcopy(context)
    said = of(context)
    result = enrich(said, spec, lambda _: geo_location(HANOI))
    assert context == before
    assert result == enrich(of(copy.deepcopy(context)), spec, lambda _: geo_location(HANOI))
    assert enrich(result, spec, lambda _: geo_location(HANOI)) == result
    assert decode(Event, encode(result)) == result
    kept = {name: value for name, value in context.items() if name != "enriched" and value not in (None, [])}
    assert {name: result.context[name] for name in kept} == kept
    assert result.context.keys() - context.keys() <= {"campaign", "referrer", "enriched"}
    assert result.properties == said.properties
    assert result.traits == said.traits
    assert result.owner == said.owner


def test_how_long_a_text_is_makes_no_difference_to_what_is_looked_at() -> None:
    assert user_agent.describe(SAFARI + " " * 100_000) == user_agent.describe(SAFARI)
    assert arrival.parse_campaign("https://a.vn/?utm_source=" + "x" * 10_000) == {}
    assert len(arrival.parse_campaign("https://a.vn/?utm_source=" + "x" * 3_000)["source"]) == arrival.MAX_VALUE_CHARS
