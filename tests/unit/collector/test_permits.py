"""Requests that have shown no key have places apart, and each address has a share of them."""

import pytest

from collector.permits import Permit, PoolLimits, RequestLimiter
from collector.problems import RequestRefused

KEYED = PoolLimits(max_requests=2, max_bytes=100, max_requests_per_peer=2, max_bytes_per_peer=100)
KEYLESS = PoolLimits(max_requests=4, max_bytes=40, max_requests_per_peer=2, max_bytes_per_peer=20)


@pytest.fixture
def limiter() -> RequestLimiter:
    return RequestLimiter(KEYED, KEYLESS)


def entered(limiter: RequestLimiter, peer: str) -> Permit:
    permit = limiter.permit(peer)
    permit.enter()
    return permit


def test_an_address_that_has_used_up_its_share_shuts_out_itself_alone(limiter: RequestLimiter) -> None:
    permits = [entered(limiter, "a"), entered(limiter, "a")]
    with pytest.raises(RequestRefused):
        entered(limiter, "a")
    entered(limiter, "b")
    permits[0].release()
    entered(limiter, "a")


def test_requests_without_a_key_leave_the_places_of_those_with_one(limiter: RequestLimiter) -> None:
    for peer in "aabb":
        entered(limiter, peer).reserve_bytes(10)
    with pytest.raises(RequestRefused):
        entered(limiter, "c")
    keyed = limiter.permit("a")
    keyed.prove()
    keyed.reserve_bytes(100)
    assert limiter.active_requests == 5
    assert limiter.reserved_bytes == 140


def test_the_bytes_of_an_address_are_bounded_before_it_has_shown_a_key(limiter: RequestLimiter) -> None:
    entered(limiter, "a").reserve_bytes(15)
    with pytest.raises(RequestRefused):
        entered(limiter, "a").reserve_bytes(6)
    entered(limiter, "b").reserve_bytes(20)


def test_a_request_takes_its_bytes_along_when_it_shows_its_key(limiter: RequestLimiter) -> None:
    permit = entered(limiter, "a")
    permit.reserve_bytes(20)
    permit.prove()
    permit.prove()
    assert limiter.keyless.reserved_bytes == 0
    assert limiter.keyed.reserved_bytes == 20
    permit.reserve_bytes(80)
    permit.release()
    assert limiter.active_requests == 0
    assert limiter.reserved_bytes == 0


def test_a_key_that_comes_when_all_places_are_taken_is_refused_and_leaves_nothing_behind(limiter: RequestLimiter) -> None:
    for _ in range(2):
        limiter.permit("a").prove()
    late = entered(limiter, "b")
    late.reserve_bytes(5)
    with pytest.raises(RequestRefused):
        late.prove()
    late.release()
    assert limiter.keyless.active_requests == 0
    assert limiter.reserved_bytes == 0
