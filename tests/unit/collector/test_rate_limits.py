from hypothesis import given
from hypothesis import strategies as st

from runtime.token_buckets import TokenBuckets
from tests.support.collector_harness import NOW_MS, collector_harness

TRACK = {"type": "track", "userId": "u1", "event": "X"}


def test_a_rested_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = TokenBuckets()
    assert [buckets.consume("shop", 10, 3, 1, NOW_MS) for _ in range(4)] == [0, 0, 0, 100]
    assert buckets.consume("shop", 10, 3, 1, NOW_MS + 99) == 1
    assert buckets.consume("shop", 10, 3, 1, NOW_MS + 100) == 0
    assert buckets.consume("shop", 10, 3, 3, NOW_MS + 200) == 200
    assert buckets.consume("app", 10, 3, 3, NOW_MS) == 0


def test_a_batch_larger_than_the_bucket_comes_when_it_is_full_and_leaves_a_debt() -> None:
    buckets = TokenBuckets()
    assert buckets.consume("shop", 10, 3, 13, NOW_MS) == 0
    assert buckets.consume("shop", 10, 3, 1, NOW_MS) == 1100
    assert buckets.consume("shop", 10, 3, 1, NOW_MS + 1100) == 0


def test_checking_a_bucket_consumes_no_tokens() -> None:
    buckets = TokenBuckets()
    assert [buckets.consume("shop", 1, 1, 0, NOW_MS) for _ in range(3)] == [0, 0, 0]
    assert [buckets.consume("shop", 1, 1, events, NOW_MS) for events in (1, 0)] == [0, 1000]


def test_a_clock_that_goes_back_gives_nothing_twice() -> None:
    buckets = TokenBuckets()
    assert buckets.consume("shop", 1, 1, 1, NOW_MS) == 0
    assert buckets.consume("shop", 1, 1, 1, NOW_MS - 60_000) == 1000
    assert buckets.consume("shop", 1, 1, 1, NOW_MS + 999) == 1


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 80)), max_size=40),
)
def test_no_more_comes_in_than_rate_and_burst_and_one_batch_allow(
    per_second: float, burst: int, asked: list[tuple[int, int]]
) -> None:
    buckets, now_ms, taken, largest = TokenBuckets(), NOW_MS, 0, 0
    for after_ms, events in asked:
        now_ms += after_ms
        if not buckets.consume("shop", per_second, burst, events, now_ms):
            taken, largest = taken + events, max(largest, events)
    assert taken <= burst + largest + (now_ms - NOW_MS) * per_second / 1000 + 1e-3


@given(st.floats(0.01, 1000), st.integers(1, 50), st.lists(st.integers(1, 80), min_size=1, max_size=10))
def test_client_waiting_the_retry_after_is_admitted(per_second: float, burst: int, asked: list[int]) -> None:
    buckets, now_ms = TokenBuckets(), NOW_MS
    for events in asked:
        wait_ms = buckets.consume("shop", per_second, burst, events, now_ms)
        if wait_ms:
            now_ms += wait_ms
            assert buckets.consume("shop", per_second, burst, events, now_ms) == 0


async def test_a_source_beyond_its_rate_is_told_when_to_come_again() -> None:
    rate = {"rate_limit": {"events_per_second": 0.5, "burst_events": 2}}
    async with collector_harness(spec=rate) as at:
        assert (await at.post("/v1/batch", {"batch": [TRACK, TRACK]})).status_code == 200
        for content in (b'{"userId":"u1","event":"X"}', b"not read at all"):
            answer = await at.post("/v1/track", content=content)
            assert answer.status_code == 429
            assert answer.json()["code"] == "rate_limited"
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["x-ratelimit-reset"] == str(NOW_MS // 1000 + 2)
        at.clock.advance(1999)
        assert (await at.post("/v1/track", TRACK)).headers["retry-after"] == "1"
        at.clock.advance(1)
        assert (await at.post("/v1/track", TRACK)).status_code == 200
        assert len(await at.records("events")) == 3
        assert await at.records("quarantine") == []


async def test_a_rate_holds_for_a_key_in_the_body_and_for_broken_bodies_too() -> None:
    async with collector_harness(spec={"rate_limit": {"events_per_second": 1, "burst_events": 1}}) as at:
        body = {**TRACK, "writeKey": "key-of-the-shop"}
        statuses = [(await at.post("/v1/track", body, auth=None)).status_code for _ in range(2)]
        assert statuses == [200, 429]
        at.clock.advance(1000)
        assert [(await at.post("/v1/track", content=b"{")).status_code for _ in range(2)] == [400, 429]
