import base64
import gzip
import json
from typing import Any

import orjson
import pytest

from runtime.bus.partitioner import partition_of
from runtime.errors import Permanent
from schemas.identifiers import node
from tests.support.collector_harness import KEY, NOW_MS, OTHER_KEY, collector_harness

TRACK = {"userId": "u1", "event": "Order Completed", "messageId": "m1", "properties": {"name": "Phở bò Hà Nội"}}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("identify", "identify"), ("i", "identify"), ("track", "track"), ("t", "track"), ("page", "page"), ("p", "page"),
        ("screen", "screen"), ("s", "screen"), ("group", "group"), ("g", "group"), ("alias", "alias"), ("a", "alias"),
    ],
)  # fmt: skip
async def test_each_address_takes_its_call(path: str, kind: str) -> None:
    async with collector_harness() as at:
        answer = await at.post(f"/v1/{path}", {**TRACK, "groupId": "g1", "previousId": "c1"})
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "results": []}
        assert answer.headers["x-onefold-result"] == "accepted=1; quarantined=0"
        (event,) = await at.events()
        assert event.type == kind
        assert event.id == "m1"
        assert event.source == "default"
        assert event.received_ms == NOW_MS


@pytest.mark.parametrize("path", ["batch", "b", "import"])
async def test_a_batch_takes_calls_of_every_kind(path: str) -> None:
    batch = [{**TRACK, "type": "track"}, {"type": "identify", "userId": "u1", "messageId": "m2", "traits": {"name": "Lê Thị Bưởi"}}]
    async with collector_harness() as at:
        assert (await at.post(f"/v1/{path}", {"batch": batch})).status_code == 200
        events = await at.events()
        assert [event.type for event in events] == ["track", "identify"]
        assert events[0].properties == {"name": "Phở bò Hà Nội"}
        assert events[1].traits == {"name": "Lê Thị Bưởi"}


async def test_an_event_lies_under_its_owner() -> None:
    async with collector_harness() as at:
        await at.post("/v1/track", TRACK)
        (record,) = await at.records("events")
        owner = node(at.settings.tenant_key, ("user_id", "u1")).encode()
        assert record.key == owner
        assert record.partition == partition_of(owner, 3)


async def test_the_batchs_context_lies_under_each_events_own() -> None:
    batch = [
        {**TRACK, "type": "track", "context": {"locale": "en"}},
        {**TRACK, "type": "track", "messageId": "m2", "context": None},
    ]
    async with collector_harness() as at:
        await at.post("/v1/batch", {"batch": batch, "context": {"locale": "vi-VN", "ip": "203.0.113.1"}})
        first, second = await at.events()
        assert first.context == {"locale": "en", "ip": "203.0.113.1"}
        assert second.context == {"locale": "vi-VN", "ip": "203.0.113.1"}


async def test_the_envelopes_sent_at_corrects_the_clients_clock() -> None:
    async with collector_harness() as at:
        await at.post("/v1/batch", {"sentAt": NOW_MS + 90_000, "batch": [{**TRACK, "type": "track", "timestamp": NOW_MS + 80_000}]})
        (event,) = await at.events()
        assert event.time_ms == NOW_MS - 10_000


async def test_an_event_without_a_message_id_gets_one() -> None:
    async with collector_harness() as at:
        await at.post("/v1/batch", {"batch": [{"type": "track", "userId": "u1", "event": "X"}] * 2})
        first, second = await at.events()
        assert first.id != second.id


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "body", "source"),
    [
        (basic(OTHER_KEY), {}, "app"),
        ({"Authorization": basic(OTHER_KEY)["Authorization"].replace("Basic", "basic")}, {}, "app"),
        ({}, {"writeKey": OTHER_KEY}, "app"),
        ({"Authorization": f"Bearer {OTHER_KEY}"}, {}, "app"),
        ({"Authorization": "Bearer token-of-another-server"}, {"writeKey": OTHER_KEY}, "app"),
        (basic(KEY), {"writeKey": OTHER_KEY}, "default"),
        ({"Authorization": "Basic ???"}, {"writeKey": OTHER_KEY}, "app"),
        (basic(""), {"writeKey": OTHER_KEY}, "app"),
    ],
)
async def test_the_write_key_names_the_source(headers: dict[str, str], body: dict[str, str], source: str) -> None:
    async with collector_harness() as at:
        for _ in range(2):
            assert (await at.post("/v1/track", {**TRACK, **body}, auth=None, headers=headers)).status_code == 200
        assert {event.source for event in await at.events()} == {source}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, {}),
        (basic("wrong"), {"writeKey": KEY}),
        ({}, {"writeKey": "wrong"}),
        ({}, {"writeKey": 7}),
        ({"Authorization": "Bearer wrong"}, {}),
        ({"Authorization": "Basic wrong"}, {}),
    ],
)
async def test_a_wrong_write_key_is_refused_and_nothing_kept(headers: dict[str, str], body: dict[str, Any]) -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/track", {**TRACK, **body}, auth=None, headers=headers)
        assert answer.status_code == 401
        assert answer.json() == {
            "success": False,
            "code": "invalid_write_key",
            "message": "No source has this write key: see `onefold status`.",
            "results": [],
        }
        assert answer.headers["x-onefold-result"] == "accepted=0; quarantined=0; code=invalid_write_key"
        assert await at.records("events") == await at.records("quarantine") == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", "nonsense"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("said", [False, True])
async def test_body_format_is_detected_from_its_content(content_type: str, zipped: bool, said: bool) -> None:
    raw = orjson.dumps(TRACK)
    headers = {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if said else {})
    async with collector_harness() as at:
        answer = await at.post("/v1/track", content=gzip.compress(raw) if zipped else raw, headers=headers)
        assert answer.status_code == 200
        assert len(await at.events()) == 1


@pytest.mark.parametrize(
    ("path", "content", "code", "reason"),
    [
        ("track", b'{"userId": ', "invalid_json", "unparsable"),
        ("track", b"", "invalid_json", "unparsable"),
        ("batch", b"\xff\xfe\x00", "invalid_json", "unparsable"),
        ("batch", gzip.compress(b"{}", mtime=0)[:-9], "invalid_json", "unparsable"),
        ("batch", b"\x1f\x8bnonsense", "invalid_json", "unparsable"),
        ("batch", gzip.compress(b"nonsense", mtime=0), "invalid_json", "unparsable"),
        ("track", b"[" * 100_000, "invalid_json", "unparsable"),
        ("track", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json", "unparsable"),
        ("track", b"[]", "not_an_object", "not_an_object"),
        ("batch", b"null", "not_an_object", "not_an_object"),
        ("batch", b"{}", "invalid_batch", "wrong_type"),
        ("batch", b'{"batch": {}}', "invalid_batch", "wrong_type"),
        ("batch", b'{"batch": [], "context": 1}', "invalid_batch", "wrong_type"),
    ],
)
async def test_a_body_that_holds_no_calls_is_one_event_in_quarantine(path: str, content: bytes, code: str, reason: str) -> None:
    async with collector_harness() as at:
        answer = await at.post(f"/v1/{path}", content=content)
        assert answer.status_code == 400
        assert answer.json()["success"] is False
        assert answer.json()["code"] == code
        path = "batch" if reason == "wrong_type" else ""
        assert answer.json()["results"] == [{"index": 0, "messageId": None, "reason": reason, "path": path}]
        named = f"0 {reason} {path}".strip()
        assert answer.headers["x-onefold-result"] == f'accepted=0; quarantined=1; rejected="{named}"; code={code}'
        ((record, raw),) = await at.quarantined()
        assert record.stage == "collector"
        assert record.reason == reason
        assert record.source == "default"
        assert record.counted is True
        assert record.at_ms == NOW_MS
        assert raw == content


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
async def test_broken_body_without_a_valid_key_is_not_stored(headers: dict[str, str]) -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/track", content=b"{", auth=None, headers=headers)
        assert answer.status_code in (400, 401)
        assert await at.records("quarantine") == []


async def test_events_that_cannot_be_kept_are_named_and_the_others_kept() -> None:
    batch: list[Any] = [
        {**TRACK, "type": "track"},
        {"type": "track", "event": "Nobody", "messageId": "m2"},
        {"type": "dance", "userId": "u1", "messageId": 3},
        {"type": "track", "userId": "null", "event": "X"},
        "text",
        {"type": "track", "userId": "u1", "event": ["X"], "messageId": "m6"},
        {"type": "track", "userId": "u1", "event": "X", "properties": "x", "messageId": "m7"},
        {**TRACK, "type": "track", "messageId": "m8", "properties": {"note": "ă" * 40_000}},
    ]
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", {"batch": batch})
        assert answer.status_code == 200
        assert answer.json() == {
            "success": True,
            "results": [
                {"index": 1, "messageId": "m2", "reason": "no_identifier", "path": ""},
                {"index": 2, "messageId": "3", "reason": "unknown_type", "path": "type"},
                {"index": 3, "messageId": None, "reason": "no_identifier", "path": ""},
                {"index": 4, "messageId": None, "reason": "not_an_object", "path": ""},
                {"index": 5, "messageId": "m6", "reason": "wrong_type", "path": "event"},
                {"index": 6, "messageId": "m7", "reason": "wrong_type", "path": "properties"},
                {"index": 7, "messageId": "m8", "reason": "too_large", "path": ""},
            ],
        }
        assert answer.headers["x-onefold-result"] == (
            'accepted=1; quarantined=7; rejected="1 no_identifier, 2 unknown_type type, 3 no_identifier, 4 not_an_object, '
            '5 wrong_type event, 6 wrong_type properties, 7 too_large"'
        )
        assert [event.id for event in await at.events()] == ["m1"]
        held = await at.quarantined()
        assert sorted(raw for _, raw in held) == sorted(json.dumps(call, ensure_ascii=False).encode() for call in batch[1:])
        assert len({record.id for record, _ in held}) == 7
        assert all(record.counted for record, _ in held)


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ('"\\ud83d"', "wrong_type"),
        ("NaN", "wrong_type"),
        ("Infinity", "wrong_type"),
        ("1" + "0" * 400, "wrong_type"),
        ("[" * 300 + "]" * 300, "too_deep"),
        (json.dumps({f"n{n}": n for n in range(1001)}), "too_many_properties"),
        (json.dumps({"n" * 257: 1}), "name_too_long"),
    ],
)
async def test_one_spoiled_event_does_not_take_its_batch_along(spoiled: str, reason: str) -> None:
    bad = '{"type":"track","userId":"u1","event":"X","messageId":"m2","writeKey":"secret","properties":{"a":' + spoiled + "}}"
    body = '{"batch":[' + json.dumps({**TRACK, "type": "track"}) + "," + bad + "]}"
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", content=body.encode())
        assert answer.json()["results"] == [{"index": 1, "messageId": "m2", "reason": reason, "path": "properties"}]
        assert [event.id for event in await at.events()] == ["m1"]
        ((_, raw),) = await at.quarantined()
        assert json.dumps(json.loads(raw)) == json.dumps({k: v for k, v in json.loads(bad).items() if k != "writeKey"})


async def test_unencodable_message_id_is_omitted_from_the_response() -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/track", content=b'{"userId":"u1","event":"X","messageId":"\\ud83d"}')
        assert answer.json()["results"] == [{"index": 0, "messageId": None, "reason": "wrong_type", "path": "messageId"}]


async def test_an_empty_batch_is_kept() -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", {"batch": []})
        assert answer.status_code == 200
        assert answer.headers["x-onefold-result"] == "accepted=0; quarantined=0"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b" " * (10 * 1024 * 1024), "too_large"),
        (gzip.compress(b" " * 50_000_000), "too_large"),
        (gzip.compress(b" " * (4 * 1024 * 1024 + 1)), "compressed_too_much"),
        (gzip.compress(b" " * 300_000), "compressed_too_much"),
    ],
)
async def test_a_body_over_the_limit_is_refused_whole(content: bytes, code: str) -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", content=content)
        assert answer.status_code == 413
        assert answer.json()["code"] == code
        assert await at.records("events") == await at.records("quarantine") == []
        assert at.parts.limiter.active_requests == 0
        assert at.parts.limiter.reserved_bytes == 0


async def test_a_body_of_very_many_streams_is_not_unpacked() -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", content=gzip.compress(b"", mtime=0) * 10_000)
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_json"
        halves = gzip.compress(b'{"userId":"u1",') + gzip.compress(b'"event":"X"}')
        assert (await at.post("/v1/track", content=halves)).status_code == 200


async def test_a_body_without_a_length_is_limited_as_it_comes() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b" " * 65_536

    async with collector_harness(collector_max_body_bytes=200_000) as at:
        answer = await at.http.post("/v1/track", content=endless(), auth=(KEY, ""))
        assert answer.status_code == 413


async def test_a_batchs_context_cannot_blow_up_memory() -> None:
    batch = [{**TRACK, "type": "track"}] * 2000
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", {"batch": batch, "context": {"a": "x" * 20_000}})
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_large"
        assert await at.records("events") == []


async def test_a_batch_of_too_many_events_is_refused_whole() -> None:
    batch = [{**TRACK, "type": "track", "messageId": f"m{n}"} for n in range(2501)]
    async with collector_harness() as at:
        answer = await at.post("/v1/batch", {"batch": batch})
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_many_events"
        assert await at.records("events") == []
        assert (await at.post("/v1/batch", {"batch": batch[:2500]})).status_code == 200
        assert len(await at.records("events")) == 2500


async def test_another_encoding_is_refused() -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/track", TRACK, headers={"Content-Encoding": "br"})
        assert answer.status_code == 415
        assert answer.json()["code"] == "unsupported_encoding"


async def test_without_a_broker_the_client_is_asked_to_retry() -> None:
    async with collector_harness(away=True) as at:
        for content in (orjson.dumps(TRACK), b"{"):
            answer = await at.post("/v1/track", content=content)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["code"] == "unavailable"


async def test_before_the_sources_are_known_no_key_is_called_wrong() -> None:
    async with collector_harness(caught_up=False) as at:
        for path in ("/v1/track", "/v1/batch"):
            answer = await at.post(path, TRACK)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        assert (await at.http.get(f"/v1/projects/{KEY}/settings")).status_code == 503
        assert (await at.http.get("/health")).status_code == 503


async def test_requests_above_the_concurrency_limit_are_deferred() -> None:
    async with collector_harness() as at:
        passes = [at.parts.limiter.permit("a") for _ in range(1024)]
        for permit in passes:
            permit.prove()
        answer = await at.post("/v1/track", TRACK)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "overloaded"
        passes.pop().release()
        assert (await at.post("/v1/track", TRACK)).status_code == 200
        passes.pop().reserve_bytes(16 * 4 * 1024 * 1024)
        assert (await at.post("/v1/track", TRACK)).status_code == 503


async def test_a_bug_met_by_one_event_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(call: Any, **_: Any) -> Any:
        raise ZeroDivisionError(call)

    monkeypatch.setattr("domain.intake.decide_calls.parse_call", broken)
    async with collector_harness() as at:
        answer = await at.post("/v1/track", TRACK)
        assert answer.json()["results"] == [{"index": 0, "messageId": "m1", "reason": "poison", "path": ""}]
        ((record, _),) = await at.quarantined()
        assert record.detail == "ZeroDivisionError"


async def test_an_unexpected_error_keeps_the_data_with_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector_harness() as at:
        for error in (ZeroDivisionError("x"), Permanent("x")):

            async def broken(_: Any, error: Exception = error) -> Any:
                raise error

            monkeypatch.setattr(at.parts.producer, "send", broken)
            answer = await at.post("/v1/track", TRACK)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
