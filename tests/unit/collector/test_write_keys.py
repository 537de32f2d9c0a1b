"""A write key is a secret: analysts, who read the quarantine, must not find one there."""

import base64
from urllib.parse import parse_qs

import orjson

from tests.support.collector_harness import KEY, collector_harness


async def test_write_keys_are_never_quarantined() -> None:
    async with collector_harness() as at:
        await at.post("/v1/track", {"event": "Nobody", "writeKey": KEY}, auth=None)
        await at.post("/v1/batch", {"batch": 1, "writeKey": KEY}, auth=None)
        await at.post("/v1/batch", {"batch": [{"type": "track", "event": "Nobody", "writeKey": KEY}], "writeKey": KEY}, auth=None)
        held = await at.quarantined()
        assert len(held) == 3
        assert all(KEY.encode() not in raw for _, raw in held)


async def test_write_keys_are_masked_in_bodies_that_nobody_can_read() -> None:
    cut_off = orjson.dumps({"batch": [{"type": "track", "event": "Huế", "writeKey": KEY}], "writeKey": KEY})[:-3]
    unknown = {
        "type": "track",
        "event": "Nobody",
        "properties": {"url": f"https://a.vn/?key={KEY}", KEY: 1, "deep": [{"writeKey": KEY}]},
    }
    async with collector_harness() as at:
        assert (await at.post("/v1/batch", content=cut_off)).status_code == 400
        assert (await at.post("/v1/batch", content=KEY.encode("utf-16"))).status_code == 400
        await at.post("/v1/batch", {"batch": [unknown]})
        query = f"writeKey={KEY}&data=" + base64.b64encode(b'{"writeKey":"' + KEY.encode() + b'","a":').decode()
        await at.http.get(f"/v1/pixel/track?{query}")
        held = await at.quarantined()
        assert sorted(record.reason for record, _ in held) == ["no_identifier", "unparsable", "unparsable", "unparsable"]
        for _, raw in held:
            readable = raw + b"".join(base64.b64decode(value) for value in parse_qs(raw.decode("latin-1")).get("data", []))
            assert KEY.encode() not in readable
            assert KEY.encode("utf-16-le") not in readable
            assert b"*" in readable
