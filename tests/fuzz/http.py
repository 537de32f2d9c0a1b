"""The collector's application over the in-memory bus: whatever comes in, no 5xx, an answer in JSON, and every call written."""

import random
import re
from collections import Counter
from typing import Any, Final
from urllib.parse import quote

import orjson

from domain.intake.envelope import BATCH_PATHS, CALL_TYPE_BY_PATH
from tests.fuzz import values
from tests.support.collector_harness import KEY, OTHER_KEY, CollectorHarness, collector_harness

PATHS: Final = (*(f"/v1/{name}" for name in (*CALL_TYPE_BY_PATH, *sorted(BATCH_PATHS))), "/beacon/v1/batch")
ROUND: Final = 2_000
_RESULT: Final = re.compile(r"accepted=(\d+); quarantined=(\d+)")
_CSV: Final = (
    "user_id,email,phone,name\nkhách-1,an@shop.vn,0901234567,Ánh\n",
    'user_id;event;timestamp;total\nu1;Đơn hàng;15/06/2025;"1.234,5"\n',
    '{"userId": "u1", "event": "Order", "timestamp": "2025-06-15"}\n{"userId": 7}\n',
)


class InvariantBroken(AssertionError):
    """An invariant does not hold for some input."""


def broken(what: str, given: object) -> InvariantBroken:
    """Return the error that names the broken invariant and the input that shows it."""
    return InvariantBroken(f"{what}\nwith {repr(given)[:4_000]}")


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Send `inputs` requests and count the answers by status; raises InvariantBroken."""
    seen: Counter[str] = Counter()
    rng = random.Random(seed)
    for done in range(0, inputs, ROUND):
        away = rng.random() < 0.05
        async with collector_harness(away=away) as at:
            for _ in range(min(ROUND, inputs - done)):
                seen[await _fuzz_one(rng, at, away=away)] += 1
    return seen


async def _fuzz_one(rng: random.Random, at: CollectorHarness, *, away: bool) -> str:
    method, where, content, headers = _request(rng)
    who = rng.choice((KEY, KEY, KEY, KEY, OTHER_KEY, "wrong", None))
    given = (method, where, content, headers, who)
    before = await _written(at)
    try:
        answer = await at.http.request(
            method, f"http://collector.test{where}", content=content, headers=headers, auth=(who, "") if who else None
        )
    except Exception as error:
        raise broken(f"the application raises {error!r}", given) from error
    after = await _written(at)
    if answer.status_code >= 500 and not (away and answer.status_code == 503):
        raise broken(f"{answer.status_code} {answer.text[:500]}", given)
    if 300 <= answer.status_code < 400:
        raise broken(f"a redirect, {answer.status_code}", given)
    _accounted(answer.headers.get("x-onefold-result", ""), (after[0] - before[0], after[1] - before[1]), given)
    if method == "POST" and answer.headers.get("content-type", "").startswith("application/json"):
        orjson.loads(answer.content)
    elif method == "POST" and answer.status_code != 204:
        raise broken(f"the answer is no JSON: {answer.headers.get('content-type')}", given)
    return str(answer.status_code)


def _accounted(header: str, wrote: tuple[int, int], given: object) -> None:
    """Check that the answer reports as many events and quarantined records as the collector wrote."""
    said = _RESULT.match(header)
    told = (int(said[1]), int(said[2])) if said else (0, 0)
    if told != wrote:
        raise broken(f"the answer says {told} (events, quarantined), written were {wrote}", given)


async def _written(at: CollectorHarness) -> tuple[int, int]:
    ends = [await at.bus.end_offsets(at.settings.topic(name)) for name in ("events", "quarantine")]
    return sum(ends[0].values()), sum(ends[1].values())


def _request(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    kind = rng.random()
    if kind < 0.08:
        raw = rng.choice(_CSV).encode(rng.choice(("utf-8", "utf-16", "utf-16-le")))
        raw = values.broken(rng, raw) if rng.random() < 0.6 else raw
        content, headers = values.packed(rng, raw)
        zone = rng.choice(("Asia/Ho_Chi_Minh", "Mars/Phobos", "../etc", ""))
        what = rng.choice(("customers", "events", "nothing"))
        return "POST", f"/v1/import/{what}?timezone={quote(zone)}&event={quote(rng.choice(('Đơn', '')))}", content, headers
    content, headers = values.packed(rng, values.written(rng, _body(rng)))
    if rng.random() < 0.2:
        headers |= {"sec-gpc": "1", "x-forwarded-for": rng.choice(("1.2.3.4", ", ,", "::1, 300.1.1.1")), "origin": "https://a.vn"}
    if kind < 0.13:
        part = "".join(rng.choice("abc/%.~_ é\x00") for _ in range(rng.randint(0, 20)))
        return rng.choice(("GET", "POST", "PUT", "OPTIONS")), "/" + quote(part), content, headers
    if kind < 0.17:
        data = quote(values.written(rng, values.mutated(rng, values.call(rng)))[:1500])
        return "GET", f"/pixel/v1/{rng.choice(('track', 'page', 'x'))}?data={data}&writeKey={KEY}", b"", headers
    return "POST", rng.choice(PATHS), content, headers


def _body(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.05:
        return values.value(rng)
    if kind < 0.4:
        call = values.call(rng)
        return values.mutated(rng, call) if rng.random() < 0.8 else call
    calls = [values.call(rng) for _ in range(rng.choice((0, 1, 2, 3, 8)))]
    body: Any = {"batch": calls, "sentAt": "2025-06-15T10:00:01Z", "context": {"library": {"name": "analytics"}}}
    if calls and rng.random() < 0.8:
        at = rng.randrange(len(calls))
        calls[at] = values.mutated(rng, calls[at])
    return values.mutated(rng, body, 1) if rng.random() < 0.3 else body
