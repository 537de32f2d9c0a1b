import base64

import orjson
import pytest

from collector.routes.pixel import GIF
from tests.support.collector_harness import KEY, collector_harness


@pytest.mark.parametrize("path", ["/pixel/v1/track", "/v1/pixel/track", "/pixel/v1/track/"])
async def test_a_pixel_is_an_event(path: str) -> None:
    query = {
        "writeKey": KEY, "userId": "u1", "event": "Mở thư", "messageId": "m1", "properties.campaign": "Tết", "context": '{"a": 1}',
    }  # fmt: skip
    async with collector_harness() as at:
        answer = await at.http.get(path, params=query)
        assert answer.status_code == 200
        assert answer.content == GIF
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["x-onefold-result"] == "accepted=1; quarantined=0"
        assert answer.headers["cache-control"] == "no-store"
        (event,) = await at.events()
        assert event.type == "track"
        assert event.name == "Mở thư"
        assert event.properties == {"campaign": "Tết"}
        assert event.context == {"a": 1}


async def test_a_page_and_segments_own_form() -> None:
    call = {"writeKey": KEY, "anonymousId": "c1", "name": "Trang chủ", "messageId": "m1"}
    async with collector_harness() as at:
        for encoded in (base64.b64encode, base64.urlsafe_b64encode):
            data = encoded(orjson.dumps(call)).decode().rstrip("=")
            assert (await at.http.get("/v1/pixel/page", params={"data": data})).status_code == 200
        assert [(event.type, event.name) for event in await at.events()] == [("page", "Trang chủ")] * 2


@pytest.mark.parametrize(
    ("path", "query", "status", "result"),
    [
        ("/pixel/v1/track", {"event": "X"}, 401, "accepted=0; quarantined=0; code=invalid_write_key"),
        ("/pixel/v1/dance", {"writeKey": KEY}, 404, "accepted=0; quarantined=0; code=not_found"),
        ("/pixel/v1/track", {"writeKey": KEY, "event": "X"}, 200, 'accepted=0; quarantined=1; rejected="0 no_identifier"'),
        (
            "/pixel/v1/page",
            {"writeKey": KEY, "data": "*"},
            400,
            'accepted=0; quarantined=1; rejected="0 unparsable"; code=invalid_json',
        ),
    ],
)
async def test_a_pixel_that_is_no_event_says_so_and_is_still_an_image(
    path: str, query: dict[str, str], status: int, result: str
) -> None:
    async with collector_harness() as at:
        answer = await at.http.get(path, params=query)
        assert answer.status_code == status
        assert answer.content == GIF
        assert answer.headers["x-onefold-result"] == result
        assert await at.records("events") == []
        assert KEY.encode() not in b"".join(raw for _, raw in await at.quarantined())


async def test_head_request_for_a_pixel_makes_no_event() -> None:
    async with collector_harness() as at:
        answer = await at.http.head("/pixel/v1/track", params={"writeKey": KEY, "userId": "u1", "event": "X"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/gif"
        assert await at.records("events") == []


async def test_a_pixel_without_a_broker_is_not_called_kept() -> None:
    async with collector_harness(away=True) as at:
        answer = await at.http.get("/pixel/v1/track", params={"writeKey": KEY, "userId": "u1", "event": "X"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert answer.content == GIF
