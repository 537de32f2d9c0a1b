import pytest

from collector.client_address import client_address, client_scheme
from tests.support.collector_harness import collector_harness

TRACK = {"userId": "u1", "event": "X", "messageId": "m1"}


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "found"),
    [
        ("203.0.113.7", [], 0, "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], 0, "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1", "10.0.0.2"], 2, "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1"], 2, "10.0.0.1"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], 1, ""),
        ("10.0.0.1", ["[2001:db8::1]:443"], 1, "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1:5555"], 1, "198.51.100.1"),
        ("::ffff:198.51.100.1", [], 0, "198.51.100.1"),
        ("2001:DB8::1", [], 0, "2001:db8::1"),
        ("", [], 0, ""),
    ],
)
def test_forwarded_headers_of_unknown_proxies_are_ignored(peer: str, forwarded: list[str], hops: int, found: str) -> None:
    assert client_address(peer, forwarded, hops) == found


@pytest.mark.parametrize(
    ("forwarded", "hops", "found"),
    [([], 0, "http"), (["https"], 0, "http"), (["https"], 1, "https"), (["https, http"], 2, "https"), (["ftp"], 1, "http")],
)
def test_the_scheme_is_what_our_proxy_says(forwarded: list[str], hops: int, found: str) -> None:
    assert client_scheme("http", forwarded, hops) == found


async def test_an_address_is_kept_only_where_the_source_asks_for_it() -> None:
    headers = {"X-Forwarded-For": "192.0.2.66, 198.51.100.1"}
    async with collector_harness(collector_trusted_hops=1) as at:
        await at.post("/v1/track", TRACK, headers=headers)
        assert [event.context for event in await at.events()] == [{}]
    async with collector_harness(collector_trusted_hops=1, spec={"record_ip": True}) as at:
        await at.post("/v1/track", TRACK, headers=headers)
        await at.post("/v1/track", {**TRACK, "messageId": "m2", "context": {"ip": "203.0.113.9"}}, headers=headers)
        assert [event.context for event in await at.events()] == [{"ip": "198.51.100.1"}, {"ip": "203.0.113.9"}]


@pytest.mark.parametrize(("header", "context"), [("1", {"gpc": True}), ("0", {}), ("", {})])
async def test_global_privacy_control_is_kept_with_the_event(header: str, context: dict[str, bool]) -> None:
    async with collector_harness() as at:
        await at.post("/v1/t", TRACK, headers={"Sec-GPC": header})
        assert [event.context for event in await at.events()] == [context]
