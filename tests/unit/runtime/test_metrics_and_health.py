"""The metrics register and the health endpoint."""

import asyncio
from contextlib import suppress

import httpx
import pytest

from runtime.errors import Misconfigured, Transient
from runtime.health import HealthServer, check_all
from runtime.metrics import REGISTER, Metrics, documentation
from runtime.settings import Settings


def test_each_kind_appears_in_the_exposition() -> None:
    metrics = Metrics()
    metrics.count("onefold_events_accepted_total", 3, source="shop", type="track")
    metrics.count("onefold_links_total")
    metrics.observe("onefold_insert_seconds", 0.2, table="events")
    text = metrics.exposition().decode()
    assert 'onefold_events_accepted_total{source="shop",type="track"} 3.0' in text
    assert "onefold_links_total 1.0" in text
    assert 'onefold_insert_seconds_sum{table="events"} 0.2' in text


def test_a_gauge_shows_its_last_values_alone() -> None:
    metrics = Metrics()
    metrics.set_all("onefold_segment_members", {"vip": 3, "khách-cũ": 1})
    metrics.set_all("onefold_segment_members", {"vip": 2})
    shown = [line for line in metrics.exposition().decode().splitlines() if line.startswith("onefold_segment_members{")]
    assert shown == ['onefold_segment_members{segment="vip"} 2.0']


def test_a_gauge_that_is_read_when_it_is_shown_has_the_value_of_that_moment() -> None:
    metrics, sizes = Metrics(), {"identifiers": 1.0}
    metrics.refresh_by(lambda: metrics.set_all("onefold_cache_bytes", sizes))
    sizes["identifiers"] = 7.0
    assert 'onefold_cache_bytes{cache="identifiers"} 7.0' in metrics.exposition().decode()


def test_a_metric_is_only_used_as_its_kind() -> None:
    with pytest.raises(TypeError, match="onefold_links_total"):
        Metrics().observe("onefold_links_total", 1.0)
    with pytest.raises(TypeError, match="onefold_links_total"):
        Metrics().set_all("onefold_links_total", {})


def test_two_metrics_registries_are_independent() -> None:
    one, other = Metrics(), Metrics()
    one.count("onefold_links_total")
    assert "onefold_links_total 0.0" in other.exposition().decode()


def test_every_metric_is_documented() -> None:
    for name, metric in REGISTER.items():
        assert f"| `{name}` | {metric.kind} |" in documentation()


async def fine() -> None:
    return


async def away() -> None:
    raise Transient("secret detail")


async def test_live_ready_and_metrics_are_served() -> None:
    metrics = Metrics()
    metrics.count("onefold_links_total")
    async with HealthServer(Settings(), metrics, {"kafka": fine}) as server, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{server.port}"
        assert (await client.get(f"{base}/live")).status_code == 200
        ready = await client.get(f"{base}/ready")
        assert ready.status_code == 200
        assert ready.json() == {"ready": True, "checks": {"kafka": "ok"}, "waits": []}
        assert "onefold_links_total 1.0" in (await client.get(f"{base}/metrics")).text


async def test_not_ready_names_the_kind_of_error_alone() -> None:
    async with HealthServer(Settings(), Metrics(), {"kafka": fine, "redis": away}) as server, httpx.AsyncClient() as client:
        ready = await client.get(f"http://127.0.0.1:{server.port}/ready")
    assert ready.status_code == 503
    assert ready.json() == {"ready": False, "checks": {"kafka": "ok", "redis": "Transient"}, "waits": []}


async def test_a_half_sent_request_does_not_keep_a_connection_to_the_metrics() -> None:
    metrics = Metrics()
    async with HealthServer(Settings(http_headers_timeout_ms=50), metrics, {}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
        async with asyncio.timeout(30):
            with suppress(ConnectionResetError):  # closed before it had read what we sent
                assert await reader.read() == b""
        writer.close()
    assert b'onefold_http_connections_closed_total{port="metrics",reason="headers"} 1.0' in metrics.exposition()


async def test_a_ping_that_never_answers_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.health.PING_TIMEOUT_S", 0.01)
    assert await check_all({"store": asyncio.Event().wait, "kafka": fine}) == {"store": "TimeoutError", "kafka": "ok"}


async def test_a_taken_port_is_a_clear_error() -> None:
    async with HealthServer(Settings(), Metrics(), {}) as first:
        with pytest.raises(Misconfigured, match="ONEFOLD_METRICS_PORT"):
            async with HealthServer(Settings(metrics_port=first.port), Metrics(), {}):
                pass
