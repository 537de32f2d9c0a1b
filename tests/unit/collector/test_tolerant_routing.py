"""RudderStack's additions, slashes too many, and the origins of a source."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.collector_harness import KEY, OTHER_KEY, collector_harness

TRACK = {"userId": "u1", "event": "Order Completed", "messageId": "m1"}
SHOP = "https://cho-que.vn"
RESULT = "x-onefold-result"


@pytest.mark.parametrize("path", ["//v1/track", "/v1//track", "/v1/track/", "///v1///track//", "/v1/t/"])
async def test_slashes_too_many_do_not_matter(path: str) -> None:
    async with collector_harness() as at:
        answer = await at.http.post(f"http://collector.test{path}", content=orjson.dumps(TRACK), auth=(KEY, ""))
        assert answer.status_code == 200
        assert len(await at.events()) == 1


async def test_a_beacon_says_its_key_in_the_address() -> None:
    body = orjson.dumps({"batch": [{**TRACK, "type": "track"}]})
    async with collector_harness() as at:
        for path in ("/beacon/v1/batch", "/beacon/v1/batch/"):
            headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": SHOP}
            answer = await at.http.post(path, params={"writeKey": KEY}, content=body, headers=headers)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "*"
        assert [event.id for event in await at.events()] == ["m1", "m1"]
        assert (await at.http.post("/beacon/v1/batch", params={"writeKey": "wrong"}, content=body)).status_code == 401
        assert (await at.http.post("/beacon/v1/batch", content=body)).status_code == 401


async def test_a_key_in_the_address_counts_for_beacons_alone() -> None:
    async with collector_harness() as at:
        assert (await at.http.post("/v1/track", params={"writeKey": KEY}, content=orjson.dumps(TRACK))).status_code == 401


async def test_a_merge_is_kept_for_a_person_to_look_at() -> None:
    call = {"messageId": "m1", "mergeProperties": [{"type": "email", "value": "a@b.vn"}, {"type": "mobile", "value": "+84912"}]}
    async with collector_harness() as at:
        answer = await at.post("/v1/merge", call)
        assert answer.status_code == 200
        assert answer.json()["results"] == [{"index": 0, "messageId": "m1", "reason": "unknown_type", "path": "type"}]
        ((_, raw),) = await at.quarantined()
        assert orjson.loads(raw) == {**call, "type": "merge"}


@pytest.mark.parametrize("path", ["m", "metrics"])
@pytest.mark.parametrize("content", [b'{"series":[]}', b"nonsense", b""])
async def test_analytics_js_self_reports_are_ignored(path: str, content: bytes) -> None:
    async with collector_harness() as at:
        answer = await at.http.post(f"/v1/{path}", content=content)
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "results": []}
        assert await at.records("events") == await at.records("quarantine") == []


async def test_integrations_of_a_batch_lie_under_each_calls_own() -> None:
    bad = {"type": "dance", "userId": "u1", "integrations": {"Mail": False}}
    async with collector_harness() as at:
        body = {"batch": [bad, {**bad, "integrations": None}], "integrations": {"All": True, "Mail": True}}
        await at.post("/v1/batch", body)
        held = [orjson.loads(raw)["integrations"] for _, raw in await at.quarantined()]
        assert sorted(held, key=str) == [{"All": True, "Mail": False}, {"All": True, "Mail": True}]


async def test_empty_list_for_an_object_of_a_batch_or_its_calls_is_absent() -> None:
    call = {**TRACK, "type": "track"}
    async with collector_harness() as at:
        empty: dict[str, Any] = {"properties": [], "traits": [], "context": [], "integrations": [], "identifiers": []}
        answer = await at.post("/v1/batch", {"batch": [{**call, **empty}], "context": [], "integrations": []})
        assert (answer.status_code, answer.json()["results"]) == (200, [])
        answer = await at.post("/v1/batch", {"batch": [{**call, **empty}], "context": {"locale": "vi-VN"}})
        assert (answer.status_code, answer.json()["results"]) == (200, [])
        assert [event.context.get("locale") for event in await at.events()] == [None, "vi-VN"]
        answer = await at.post("/v1/batch", {"batch": [{**call, "context": ["vi-VN"]}], "context": {"locale": "vi-VN"}})
        assert [result["path"] for result in answer.json()["results"]] == ["context"]


async def test_integer_beyond_64_bits_sends_its_call_alone_into_quarantine_with_all_digits() -> None:
    good, bad = ({**TRACK, "type": "track", "properties": {"mã": "GIÁ"}} for _ in range(2))
    first, _, second = orjson.dumps({"batch": [good, bad]}).rpartition('"GIÁ"'.encode())
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", content=first + b"12345678901234567890123" + second)
        assert [(result["index"], result["reason"], result["path"]) for result in answer.json()["results"]] == [
            (1, "wrong_type", "properties")
        ]
        ((_, raw),) = await at.quarantined()
        assert b"12345678901234567890123" in raw
        assert len(await at.events()) == 1


@pytest.mark.parametrize("path", ["/v1/t", "/beacon/v1/batch?writeKey=" + KEY])
async def test_a_source_with_origins_of_its_own_lets_no_other_in(path: str) -> None:
    body: Any = {**TRACK, "batch": [{**TRACK, "type": "track"}]}
    async with collector_harness(spec={"cors_origins": (SHOP,)}, collector_cors_origins="https://other.vn") as at:
        good = await at.post(path, body, headers={"Origin": SHOP})
        assert good.status_code == 200
        assert good.headers["access-control-allow-origin"] == SHOP
        assert good.headers["vary"] == "Origin"
        for origin in ("https://evil.test", "null", "https://other.vn"):
            bad = await at.post(path, body, headers={"Origin": origin})
            assert bad.status_code == 403
            assert bad.json()["code"] == "origin_not_allowed"
            assert "access-control-allow-origin" not in bad.headers
        assert (await at.post(path, body)).status_code == 200
        assert len(await at.events()) == 2


async def test_origins_of_one_source_are_not_those_of_another() -> None:
    async with collector_harness(spec={"cors_origins": (SHOP,)}, collector_cors_origins="https://other.vn") as at:
        answer = await at.post("/v1/t", TRACK, headers={"Origin": SHOP}, auth=(OTHER_KEY, ""))
        assert "access-control-allow-origin" not in answer.headers
        for origin, allowed in ((SHOP, True), ("https://other.vn", True), ("https://evil.test", False)):
            asked = await at.http.options("/v1/t", headers={"Origin": origin})
            assert ("access-control-allow-origin" in asked.headers) is allowed


async def test_a_405_names_what_is_allowed() -> None:
    async with collector_harness() as at:
        assert set((await at.http.get("/v1/track")).headers["allow"].split(", ")) == {"POST", "OPTIONS"}


async def test_the_classic_snippet_loads_analytics_js_from_the_collector(tmp_path: Path) -> None:
    (tmp_path / "standalone.js").write_text("window.analytics = 1")
    (tmp_path / "queryString.bundle.1f2e.js").write_text("part")
    (tmp_path / "secret.txt").write_text("secret")
    async with collector_harness(collector_analytics_js_dir=tmp_path) as at:
        answer = await at.http.get(f"/analytics.js/v1/{KEY}/analytics.min.js", headers={"Origin": SHOP})
        assert answer.status_code == 200
        assert answer.text == "window.analytics = 1"
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert (await at.http.get("/analytics-next/bundles/queryString.bundle.1f2e.js")).text == "part"
        for path in ("secret.txt", "missing.js", "..%2Fsecret.txt", "%2e%2e/x.js"):
            assert (await at.http.get(f"/analytics-next/bundles/{path}")).status_code == 404
        assert (await at.http.get("/analytics.js/v1/wrong/analytics.min.js")).status_code == 401


@pytest.mark.parametrize("path", [f"/analytics.js/v1/{KEY}/analytics.min.js", "/analytics-next/bundles/x.js"])
async def test_without_the_file_the_answer_says_how_to_get_it(path: str) -> None:
    async with collector_harness() as at:
        answer = await at.http.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "no_analytics_js"
        assert "onefold analytics-js" in answer.json()["message"]


async def test_the_settings_name_the_scheme_that_the_proxy_heard() -> None:
    async with collector_harness(collector_trusted_hops=1) as at:
        answer = await at.http.get(f"/v1/projects/{KEY}/settings", headers={"X-Forwarded-Proto": "https", "Host": "cdp.cho-que.vn"})
        target = answer.json()["integrations"]["Segment.io"]
        assert target["apiHost"] == "cdp.cho-que.vn/v1"
        assert target["protocol"] == "https"
