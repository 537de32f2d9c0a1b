"""Caches of texts: what they remember is bounded in bytes, whatever a client sends."""

from domain.text_caches import CACHES, DEFAULT_CACHES_BYTES, TextCache, cache_sizes, limit_caches


def cache_of(max_bytes: int) -> tuple[TextCache[[str], str], list[str]]:
    """Return a cache of a function, and the arguments with which the function was called."""
    calls: list[str] = []

    def double(text: str) -> str:
        calls.append(text)
        return text * 2

    cache = TextCache(double, weight=1)
    cache.max_bytes = max_bytes
    return cache, calls


def test_a_result_is_computed_once_while_it_is_asked_for() -> None:
    cache, calls = cache_of(64_000)
    for number in range(2_000):
        assert cache("khách") == "kháchkhách"
        cache(f"other {number}")
    assert calls.count("khách") == 1


def test_what_is_remembered_is_bounded_in_bytes_and_not_in_entries() -> None:
    cache, _ = cache_of(1_000_000)
    for number in range(2_000):
        cache(f"{number:0>3000}")
        assert cache.size_bytes <= 1_000_000
    assert cache.size_bytes > 400_000


def test_one_long_text_displaces_nothing() -> None:
    cache, calls = cache_of(100_000)
    cache("khách")
    for _ in range(50):
        cache("x" * 90_000)
    cache("khách")
    assert calls.count("khách") == 1
    assert cache.size_bytes < 1_000


def test_a_result_of_none_is_remembered() -> None:
    calls: list[str] = []
    cache: TextCache[[str], None] = TextCache(calls.append, weight=1)
    cache.max_bytes = 100_000
    cache("a")
    cache("a")
    assert calls == ["a"]


def test_all_caches_of_a_process_share_one_limit() -> None:
    try:
        limit_caches(1_000_000)
        assert sum(cache.max_bytes for cache in CACHES.values()) <= 1_000_000
        assert all(cache.max_bytes > 0 for cache in CACHES.values())
        assert cache_sizes().keys() == CACHES.keys()
    finally:
        limit_caches(DEFAULT_CACHES_BYTES)
