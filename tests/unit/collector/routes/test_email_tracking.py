import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from collector.problems import Problem, RequestRefused
from collector.retry_buffer import RetryBuffer
from collector.routes.email_tracking import aclose
from domain.intake.email_links import EmailLink, derive_key, sign
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from schemas.identifiers import node
from tests.support.collector_harness import NOW_MS, CollectorHarness, collector_harness

TARGET = "https://shop.vn/ao-dai?utm_source=mail#mua"
CLICK = EmailLink("mail-1", ("user_id", "KH-7"), "Tết 2026", NOW_MS + 86_400_000, TARGET)
OPENING = EmailLink("mail-1", ("user_id", "KH-7"), "Tết 2026", NOW_MS + 86_400_000)


def token(at: CollectorHarness, link: EmailLink) -> str:
    return sign(derive_key(at.settings.tenant_key), link)


async def opened(at: CollectorHarness, link: EmailLink = OPENING, headers: dict[str, str] | None = None) -> httpx.Response:
    return await at.http.get(f"/e/o/{token(at, link)}.gif", headers=headers)


async def clicked(at: CollectorHarness, link: EmailLink = CLICK, headers: dict[str, str] | None = None) -> httpx.Response:
    return await at.http.get(f"/e/c/{token(at, link)}", headers=headers)


async def test_an_opening_is_an_event_and_a_dot() -> None:
    async with collector_harness() as at:
        answer = await opened(at, headers={"User-Agent": "Thunderbird"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.startswith(b"GIF89a")
        (event,) = await at.events()
        assert event.type == "track"
        assert event.name == "Email Opened"
        assert event.source == "email"
        assert event.time_ms == NOW_MS
        assert event.identifiers == (("user_id", "KH-7"),)
        assert event.owner == node(at.settings.tenant_key, ("user_id", "KH-7"))
        assert event.properties == {"email_id": "mail-1", "campaign_id": "Tết 2026"}
        assert event.context["campaign"] == {"name": "Tết 2026", "medium": "email"}
        assert event.context["userAgent"] == "Thunderbird"


async def test_a_click_is_an_event_and_leads_where_was_signed() -> None:
    async with collector_harness() as at:
        answer = await clicked(at)
        assert answer.status_code == 302
        assert answer.headers["location"] == TARGET
        assert answer.headers["cache-control"] == "no-store"
        (event,) = await at.events()
        assert event.name == "Email Link Clicked"
        assert event.properties["link_url"] == TARGET


async def test_the_same_within_a_minute_has_one_message_id() -> None:
    async with collector_harness() as at:
        await opened(at)
        at.clock.advance(1)
        await opened(at)
        at.clock.advance(60_000)
        await opened(at)
        await clicked(at)
        await clicked(at, replace(CLICK, url="https://shop.vn/other"))
        ids = Counter(event.id for event in await at.events())
        assert sorted(ids.values()) == [1, 1, 1, 2]


async def test_a_bad_token_is_no_event_and_leads_nowhere() -> None:
    async with collector_harness() as at:
        good = token(at, CLICK)
        for path in (f"/e/c/{good[:-4]}", "/e/c/x", f"/e/c/{token(at, OPENING)}", f"/e/o/{good}.gif", "/e/o/x.gif"):
            answer = await at.http.get(path)
            assert answer.status_code == 404
            assert answer.json()["code"] == "invalid_link"
            assert "location" not in answer.headers
        at.clock.advance(86_400_001)
        assert (await clicked(at)).status_code == 404
        assert await at.events() == []
        assert b'onefold_email_requests_total{kind="click",result="bad_token"} 4.0' in at.metrics.exposition()


async def test_link_prefetch_is_not_a_click() -> None:
    async with collector_harness() as at:
        assert (await clicked(at, headers={"Sec-Purpose": "prefetch;prerender"})).status_code == 302
        assert (await at.http.head(f"/e/c/{token(at, CLICK)}")).status_code == 302
        assert await at.events() == []


async def test_a_customer_does_not_wait_for_sources_or_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.routes.email_tracking.WAIT_S", 0)
    monkeypatch.setattr("collector.routes.email_tracking.CLOSE_S", 0)
    async with collector_harness(away=True, caught_up=False) as at:
        assert (await clicked(at)).headers["location"] == TARGET
        assert (await opened(at)).status_code == 200
        await aclose(at.parts)
        assert b'onefold_email_requests_total{kind="any",result="lost"} 2.0' in at.metrics.exposition()


class Returning:
    """A producer whose broker is away for the first sends."""

    def __init__(self, inner: Producer, away: int) -> None:
        self._inner, self._away = inner, away

    async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        if self._away:
            self._away -= 1
            raise Transient("away")
        return await self._inner.send(records)

    async def aclose(self) -> None:
        return


async def test_an_event_is_kept_until_the_broker_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.retry_buffer.BASE_MS", 1)
    monkeypatch.setattr("collector.routes.email_tracking.WAIT_S", 0)
    async with collector_harness(producer=lambda inner: Returning(inner, 3)) as at:
        assert (await clicked(at)).status_code == 302
        await aclose(at.parts)
        (event,) = await at.events()
        assert event.name == "Email Link Clicked"


async def test_events_above_the_retry_buffer_are_counted_as_lost() -> None:
    lost: list[int] = []
    spool, go = RetryBuffer(lambda: lost.append(1), max_waiting=2), asyncio.Event()

    async def hang() -> None:
        await go.wait()

    for _ in range(3):
        await spool.submit(hang, 0)
    assert spool.waiting == 2
    assert len(lost) == 1
    go.set()
    await spool.aclose(10)
    assert spool.waiting == 0
    assert len(lost) == 1


async def test_events_not_sent_in_time_are_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.retry_buffer.BASE_MS", 1)
    lost: list[int] = []

    async def away() -> None:
        raise RequestRefused(Problem.BROKER)

    async def broken() -> None:
        raise RuntimeError

    for send in (away, broken):
        spool = RetryBuffer(lambda: lost.append(1), retry_for_s=0.01)
        await spool.submit(send, 10)
    assert len(lost) == 2
