"""Any bytes and any JSON to any address get a bounded answer without a 5xx, which reports exactly what was written."""

import asyncio
import gzip
import json
import os
import re
from typing import Any
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from domain.intake.envelope import BATCH_PATHS, CALL_CENTRE_PATH, CALL_TYPE_BY_PATH
from schemas.events import EVENT_TYPES, NOBODY
from tests.support.collector_harness import KEY, OTHER_KEY, CollectorHarness, collector_harness

EXAMPLES = int(os.environ.get("ONEFOLD_FUZZ_EXAMPLES", "300"))
FIELDS = (
    "type", "userId", "anonymousId", "messageId", "event", "name", "category", "groupId", "previousId", "traits", "properties",
    "context", "integrations", "identifiers", "timestamp", "originalTimestamp", "sentAt", "writeKey", "mergeProperties",
)  # fmt: skip
CONTEXT = ("traits", "device", "ip", "userAgent", "page", "campaign", "timezone", "locale", "id", "url", "referrer", "gpc")

text = st.text(max_size=12) | st.sampled_from(
    ("u1", "null", "0", "a@b.vn", "+84912345678", "Phở", "2025-06-15T15:06:40Z", "\ud83d", "")
)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from((2**64, -(2**63) - 1, 1e308, 10**400))
anything = st.recursive(scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12)
context = st.dictionaries(st.sampled_from(CONTEXT) | text, anything, max_size=4)
call = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, anything),
        "type": st.sampled_from(EVENT_TYPES) | anything,
        "userId": text,
        "event": text,
        "context": context | anything,
        "properties": context | anything,
        "traits": context | anything,
    },
)
calls = st.lists(call | anything, max_size=6) | anything
batch = st.fixed_dictionaries({"batch": calls}, optional=dict.fromkeys(("context", "integrations", "sentAt"), anything))
body = st.binary(max_size=200) | (call | batch | anything).map(lambda value: json.dumps(value).encode())
names = (*CALL_TYPE_BY_PATH, *sorted(BATCH_PATHS), "m", "dance")
path = st.one_of(
    st.sampled_from([f"/v1/{name}" for name in names]),
    st.sampled_from(
        ("/beacon/v1/batch", "/pixel/v1/track", "/v1/pixel/page", "/v1/import/customers", "/v1/webhook/shop", "/health")
    ),
    st.text(max_size=20).map(lambda part: "/" + quote(part.encode(errors="replace"))),
    st.sampled_from(
        ("/health", f"/v1/projects/{KEY}/settings", f"/analytics.js/v1/{KEY}/analytics.min.js", "/openapi.json", "//v1//t/")
    ),
)
header = st.fixed_dictionaries(
    {},
    optional={
        "Content-Encoding": st.sampled_from(("gzip", "br", "deflate", "identity", "")),
        "Content-Type": st.sampled_from(("text/plain", "application/x-www-form-urlencoded", "nonsense")),
        "Origin": st.sampled_from(("https://cho-que.vn", "null", "")),
        "Sec-GPC": st.sampled_from(("1", "0")),
        "User-Agent": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        "X-Forwarded-For": st.sampled_from(("1.2.3.4", "nonsense, ,", "::1, 1.2.3.4")),
    },
)
key = st.sampled_from((KEY, KEY, KEY, OTHER_KEY, "wrong", None))


async def written(at: CollectorHarness) -> tuple[int, int]:
    """Return how many records `events` and `quarantine` contain."""
    ends = [await at.bus.end_offsets(at.settings.topic(name)) for name in ("events", "quarantine")]
    return sum(ends[0].values()), sum(ends[1].values())


async def answered(at: CollectorHarness, method: str, where: str, content: bytes, headers: dict[str, str], who: str | None) -> None:
    before = await written(at)
    auth = (who, "") if who is not None else None
    answer = await at.http.request(method, f"http://collector.test{where}", content=content, headers=headers, auth=auth)
    after = await written(at)
    assert answer.status_code < 500
    assert not 300 <= answer.status_code < 400
    result_header = re.match(
        r"accepted=(\d+); quarantined=(\d+)", answer.headers.get("x-onefold-result", "accepted=0; quarantined=0")
    )
    assert result_header is not None
    assert after[0] - before[0] == int(result_header[1])
    assert after[1] - before[1] == int(result_header[2])
    assert len(answer.content) < 300_000
    if answer.headers.get("content-type") == "application/json" and where.startswith("/v1/") and method == "POST":
        body_json = answer.json()
        assert body_json["success"] is (answer.status_code == 200)
        assert len(body_json["results"]) == int(result_header[2])
    event(f"{answer.status_code}")


def test_every_response_states_what_was_written() -> None:
    with asyncio.Runner() as runner:
        entered = collector_harness()
        at = runner.run(entered.__aenter__())

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(("POST", "POST", "POST", "GET", "OPTIONS", "PUT")), path, body, header, key, st.booleans())
        def answers(method: str, where: str, content: bytes, headers: dict[str, str], who: str | None, zipped: bool) -> None:
            sent = gzip.compress(content) if zipped else content
            runner.run(answered(at, method, where, sent, headers, who))

        answers()
        events, quarantined = runner.run(at.events()), runner.run(at.quarantined())
        assert len({record.id for record, _ in quarantined}) <= len(quarantined)
        assert all(record.counted for record, _ in quarantined)
        assert all(event.owner in (event.nodes or [NOBODY]) for event in events)
        runner.run(entered.__aexit__(None, None, None))


def test_every_call_of_a_batch_is_stored_or_rejected_by_name() -> None:
    with asyncio.Runner() as runner:
        entered = collector_harness()
        at = runner.run(entered.__aenter__())

        @settings(max_examples=EXAMPLES // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(sorted(BATCH_PATHS - {CALL_CENTRE_PATH})), st.lists(call | anything, max_size=8))
        def counted(name: str, calls: list[Any]) -> None:
            content = json.dumps({"batch": calls}).encode()
            answer = runner.run(at.post(f"/v1/{name}", content=content))
            assert answer.status_code == 200
            result_header = re.match(r"accepted=(\d+); quarantined=(\d+)", answer.headers["x-onefold-result"])
            assert result_header is not None
            assert int(result_header[1]) + int(result_header[2]) == len(calls)
            indexes = [result["index"] for result in answer.json()["results"]]
            assert indexes == sorted(set(indexes))
            assert orjson.loads(answer.content)["success"] is True

        counted()
        runner.run(entered.__aexit__(None, None, None))
