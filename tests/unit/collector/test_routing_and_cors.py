import pytest

from tests.support.collector_harness import KEY, collector_harness

TRACK = {"userId": "u1", "event": "Order Completed"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/dance", 404, "not_found"),
        ("POST", "/v1", 404, "not_found"),
        ("POST", "/v1/track/t", 404, "not_found"),
        ("POST", "/beacon/v1/track", 404, "not_found"),
        ("POST", "/v2/track", 404, "not_found"),
        ("GET", "/v1/track", 405, "method_not_allowed"),
        ("PUT", "/v1/batch", 405, "method_not_allowed"),
    ],
)
async def test_other_addresses_are_refused_without_a_redirect(method: str, path: str, status: int, code: str) -> None:
    async with collector_harness() as at:
        answer = await at.http.request(method, path)
        assert answer.status_code == status
        assert answer.json()["code"] == code


async def test_a_browsers_preflight_is_answered() -> None:
    async with collector_harness() as at:
        requested = "anonymousid,authorization,content-type,rsa-retry-attempt"
        asked = {"Origin": "https://cho-que.vn", "Access-Control-Request-Headers": requested}
        answer = await at.http.options("/v1/t", headers=asked)
        assert answer.status_code == 204
        assert answer.content == b""
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == "anonymousid, authorization, content-type, rsa-retry-attempt"
        assert answer.headers["access-control-max-age"] == "7200"
        taken = await at.post("/v1/t", TRACK, headers=asked)
        assert taken.headers["access-control-allow-origin"] == "*"
        assert "Retry-After" in taken.headers["access-control-expose-headers"]
        wrong = await at.post("/v1/t", TRACK, headers=asked, auth=("wrong", ""))
        assert wrong.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("requested", "allowed"),
    [
        (None, "authorization, content-type"),
        ("", "authorization, content-type"),
        ("X-New-In-2027", "X-New-In-2027"),
        ("rsa-since-first-attempt , x-1,, x 2, x:3", "rsa-since-first-attempt, x-1"),
        (",".join(f"x-{n}" for n in range(100)), ", ".join(f"x-{n}" for n in range(64))),
    ],
)
async def test_a_preflight_allows_the_headers_that_are_asked_for(requested: str | None, allowed: str) -> None:
    async with collector_harness() as at:
        headers = {"Origin": "https://cho-que.vn"} | ({} if requested is None else {"Access-Control-Request-Headers": requested})
        for path in ("/v1/track", "/v1/batch", "/beacon/v1/batch", "/sourceConfig/", "/v1/import/customers"):
            answer = await at.http.options(path, headers=headers)
            assert (answer.status_code, answer.headers["access-control-allow-headers"]) == (204, allowed)


async def test_an_origin_that_is_not_allowed_gets_no_headers_allowed() -> None:
    async with collector_harness(collector_cors_origins="https://cho-que.vn") as at:
        asked = {"Origin": "https://evil.test", "Access-Control-Request-Headers": "authorization"}
        answer = await at.http.options("/v1/track", headers=asked)
        assert "access-control-allow-headers" not in answer.headers


async def test_rudderstack_is_told_of_its_source() -> None:
    async with collector_harness() as at:
        query = {"p": "npm", "v": "3.34.1", "build": "modern", "writeKey": KEY, "lockIntegrationsVersion": "true"}
        by_query = await at.http.get("/sourceConfig/", params=query, headers={"Origin": "https://cho-que.vn"})
        by_header = await at.http.get("/sourceConfig", auth=(KEY, ""))
        assert by_query.json() == by_header.json()
        assert by_query.headers["access-control-allow-origin"] == "*"
        source = by_query.json()["source"]
        assert (source["id"], source["enabled"], source["destinations"]) == ("default", True, [])
        assert source["config"]["statsCollection"] == {"errors": {"enabled": False}, "metrics": {"enabled": False}}
        assert KEY not in by_query.text
        for wrong in ({}, {"writeKey": "wrong"}):
            assert (await at.http.get("/sourceConfig", params=wrong)).status_code == 401


async def test_only_origins_of_the_source_are_told_of_it() -> None:
    async with collector_harness(spec={"cors_origins": ["https://cho-que.vn"]}) as at:
        for origin, status in (("https://cho-que.vn", 200), ("https://evil.test", 403)):
            answer = await at.http.get("/sourceConfig", params={"writeKey": KEY}, headers={"Origin": origin})
            assert answer.status_code == status


async def test_only_listed_origins_are_let_in() -> None:
    async with collector_harness(collector_cors_origins="https://cho-que.vn, https://app.cho-que.vn/") as at:
        good = await at.http.options("/v1/t", headers={"Origin": "https://app.cho-que.vn"})
        assert good.headers["access-control-allow-origin"] == "https://app.cho-que.vn"
        assert good.headers["vary"] == "Origin, Access-Control-Request-Headers"
        bad = await at.http.options("/v1/t", headers={"Origin": "https://evil.test"})
        assert bad.status_code == 204
        assert "access-control-allow-origin" not in bad.headers


async def test_analytics_js_is_told_to_send_here() -> None:
    async with collector_harness() as at:
        answer = await at.http.get(f"/v1/projects/{KEY}/settings")
        target = answer.json()["integrations"]["Segment.io"]
        assert target["apiKey"] == KEY
        assert target["apiHost"] == "collector.test/v1"
        assert target["protocol"] == "http"
        assert (await at.http.get("/v1/projects/wrong/settings")).status_code == 401


async def test_what_was_done_is_counted() -> None:
    async with collector_harness() as at:
        await at.post("/v1/batch", {"batch": [{**TRACK, "type": "track"}, {"type": "dance"}]})
        shown = at.metrics.exposition().decode()
        assert 'onefold_events_accepted_total{source="default",type="track"} 1.0' in shown
        assert 'onefold_events_quarantined_total{reason="unknown_type",stage="collector"} 1.0' in shown
        assert 'onefold_http_requests_total{path="batch",status="200"} 1.0' in shown
