"""Who may call which address of the API."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
import structlog

from api.access import FAILURES_AT_ONCE, MAX_NETWORKS, GuardedRoute, TokenGate, network_of
from api.app import Api
from ops.profile_reader import ProfileReader
from profile_store.memory import MemoryStore
from runtime.api_tokens import SCOPES, ApiToken
from runtime.clock import ManualClock
from runtime.errors import Misconfigured
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.support.api_tokens import BEARER, CREATED_AT, TOKEN, api_token, gate_for

CLOCK = ManualClock(int(CREATED_AT.timestamp() * 1000))


def application_of(gate: TokenGate) -> Any:
    """Return an API with all routes; only the profile store is there."""
    anything = cast("Any", object())
    store = MemoryStore(CLOCK)
    return Api(ProfileReader(Settings(), store), gate, anything, anything, anything, anything).application()


def client_of(gate: TokenGate, peer: str = "203.0.113.9", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application_of(gate), raise_app_exceptions=False, client=(peer, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ROUTES = [route for route in application_of(gate_for()).routes if isinstance(route, GuardedRoute)]
ADDRESSES = [(method, route.path, route.token_scope) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}]


def test_every_address_but_the_document_asks_for_a_token() -> None:
    open_routes = [route.path for route in application_of(gate_for()).routes if not isinstance(route, GuardedRoute)]
    assert open_routes == ["/openapi.json"]
    assert {scope for _, _, scope in ADDRESSES} == set(SCOPES)
    assert all(scope.endswith(":read") for method, _, scope in ADDRESSES if method == "GET")


@pytest.mark.parametrize(("method", "path", "scope"), ADDRESSES)
async def test_an_address_is_closed_to_every_token_without_its_scope(method: str, path: str, scope: str) -> None:
    allowing = {scope, scope.replace(":read", ":write")}
    others = api_token("of-all-others", *(name for name in SCOPES if name not in allowing), name="others")
    async with client_of(gate_for(others)) as client:
        for headers in ({}, bearer("wrong"), {"Authorization": "Basic b2Y6"}, {"Authorization": "of-all-others"}):
            refused = await client.request(method, path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        forbidden = await client.request(method, path, headers=bearer("of-all-others"))
    assert forbidden.status_code == 403
    assert forbidden.json()["error"]["reason"] == "forbidden"
    assert f'scope="{scope}"' in forbidden.headers["www-authenticate"]


@pytest.mark.parametrize("scopes", [(), ("profiles:read",), ("all", "identity:write")])
async def test_a_token_with_the_scope_or_with_all_is_let_through(scopes: tuple[str, ...]) -> None:
    async with client_of(gate_for(api_token("t", *scopes)), **bearer("t")) as client:
        assert (await client.get("/v1/profiles/id/0" + "a" * 31)).status_code == 404


async def test_writing_a_subject_includes_reading_it() -> None:
    writer = api_token("t", "quarantine:write")
    assert writer.allows("quarantine:read")
    assert not writer.allows("deliveries:read")
    assert not api_token("t", "quarantine:read").allows("quarantine:write")


async def test_an_expired_token_says_that_it_has_expired() -> None:
    expiring = api_token(expires_at=CREATED_AT + timedelta(days=1))
    clock = ManualClock(CLOCK.now_ms())
    async with client_of(gate_for(expiring, clock=clock), **BEARER) as client:
        path = "/v1/profiles/id/0" + "a" * 31
        assert (await client.get(path)).status_code == 404
        clock.advance(86_400_000)
        refused = await client.get(path)
    assert refused.status_code == 401
    assert "expired" in refused.json()["error"]["message"]


@pytest.fixture
async def attacked() -> AsyncIterator[tuple[httpx.AsyncClient, ManualClock, Metrics]]:
    clock, metrics = ManualClock(CLOCK.now_ms()), Metrics()
    async with client_of(gate_for(clock=clock, metrics=metrics)) as client:
        yield client, clock, metrics


async def test_a_network_that_fails_often_is_put_off_and_its_failures_are_logged_without_the_token(
    attacked: tuple[httpx.AsyncClient, ManualClock, Metrics],
) -> None:
    client, clock, metrics = attacked
    with structlog.testing.capture_logs() as lines:
        for number in range(FAILURES_AT_ONCE):
            refused = await client.get("/v1/deliveries", headers=bearer(f"guess-{number}"))
            assert refused.status_code == 401
        for _ in range(100):
            put_off = await client.get("/v1/deliveries", headers=bearer("guess"))
            assert put_off.status_code == 429
            assert put_off.headers["retry-after"] == "1"
        served = await client.get("/v1/profiles/id/0" + "a" * 31, headers=BEARER)
        assert served.status_code == 404  # whoever has a token is not put off: no profile has this id
        clock.advance(1_000)
        assert (await client.get("/v1/deliveries", headers=bearer("guess"))).status_code == 401
    assert len(lines) == FAILURES_AT_ONCE + 1
    assert {(line["event"], line["reason"], line["network"]) for line in lines} == {
        ("api_request_refused", "unknown", "203.0.113.0/24")
    }
    assert "guess" not in str(lines)
    assert b'onefold_api_refusals_total{reason="unknown"} 111.0' in metrics.exposition()


async def test_the_failures_of_one_network_do_not_put_off_another() -> None:
    gate = gate_for()
    async with client_of(gate) as client:
        statuses = [(await client.get("/v1/deliveries")).status_code for _ in range(FAILURES_AT_ONCE + 1)]
    async with client_of(gate, "203.0.112.9") as other:
        assert (await other.get("/v1/deliveries")).status_code == 401
    assert statuses == [401] * FAILURES_AT_ONCE + [429]


async def test_the_memory_of_failures_is_bounded() -> None:
    gate = gate_for()
    application = application_of(gate)
    for number in range(MAX_NETWORKS + 10):
        peer = f"2001:db8:{number:x}::1"
        transport = httpx.ASGITransport(application, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            await client.get("/v1/deliveries")
    assert len(gate._failures) <= MAX_NETWORKS


async def test_a_refused_scope_is_logged_with_the_name_of_the_token() -> None:
    with structlog.testing.capture_logs() as lines:
        async with client_of(gate_for(api_token("t", "profiles:read", name="màn-hình")), **bearer("t")) as client:
            assert (await client.get("/v1/deliveries")).status_code == 403
    assert [(line["reason"], line["token_name"]) for line in lines] == [("scope", "màn-hình")]


async def test_requests_are_counted_by_the_name_of_their_token() -> None:
    metrics = Metrics()
    async with client_of(gate_for(api_token(name="crm"), metrics=metrics), **BEARER) as client:
        await client.get("/v1/profiles/id/0" + "a" * 31)
    assert b'onefold_api_requests_total{token="crm"} 1.0' in metrics.exposition()
    assert TOKEN.encode() not in metrics.exposition()


async def test_tokens_that_cannot_be_read_close_the_api() -> None:
    def unreadable() -> tuple[ApiToken, ...]:
        raise Misconfigured("tokens.json is no file of tokens")

    async with client_of(TokenGate(unreadable, CLOCK, Metrics()), **BEARER) as client:
        with structlog.testing.capture_logs() as lines:
            refused = [await client.get("/v1/deliveries") for _ in range(10)][-1]
        assert (await client.get("/openapi.json")).status_code == 200
    assert [line["reason"] for line in lines] == ["tokens.json is no file of tokens"]  # once, whoever asks how often
    assert refused.status_code == 503
    assert refused.json()["error"]["reason"] == "tokens_unreadable"
    assert "see its log" in refused.json()["error"]["message"]


async def test_a_long_address_is_refused_before_anything_else() -> None:
    async with client_of(gate_for()) as client:
        assert (await client.get("/v1/deliveries?state=" + "x" * 10_000)).status_code == 414


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("", ""),
        ("socket", ""),
    ],
)
def test_a_log_names_the_network_of_a_client_and_not_its_address(peer: str, network: str) -> None:
    assert network_of(peer) == network
