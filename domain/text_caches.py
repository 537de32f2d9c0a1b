"""Caches of pure functions of texts, bounded in bytes. Pure but for the memory that they save.

**Why.** `functools.lru_cache` counts entries, and a client chooses how long each is: 65,536 identifiers of 32 kB are 2 GB. Here an
entry counts with its bytes, and all caches of a process together stay below one limit.

**How.** A cache has two generations. What is asked for is in the young one, or moves there. When the young one has taken half of
the cache's bytes, it becomes the old one, and the old one is forgotten. So what was asked for lately stays, at the cost of one
look-up, and without a list to keep in order. Calls from several threads are safe: at worst a result is computed twice.

**Example.** A cache of 2 MB: once the young generation has 1 MB of results, it becomes the old one. A customer who comes again is
found there and moves on; one who does not is forgotten when the next 1 MB has come.
"""

import sys
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_CACHES_BYTES: Final = 64 * 1024 * 1024
_ENTRY_BYTES: Final = 200
"""About what the dictionary and the tuple of an entry take besides its texts."""
_LARGEST_SHARE: Final = 64
"""A result that takes more than this part of a cache is not stored: a few of them would displace all others."""
_MISSING: Final = object()
CACHES: Final[dict[str, "TextCache[..., Any]"]] = {}
"""The caches of this process by name."""


class TextCache(Generic[P, R]):
    """A function that remembers its results. Its arguments are hashable. `weight` is its share of the bytes of all caches."""

    def __init__(self, function: Callable[P, R], weight: int) -> None:
        self._function = function
        self.weight = weight
        self.max_bytes = 0
        self._young: dict[Hashable, Any] = {}
        self._old: dict[Hashable, Any] = {}
        self._young_bytes = self._old_bytes = 0

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns for these arguments; they are given by position."""
        result = self._young.get(args, _MISSING)
        if result is not _MISSING:
            return cast("R", result)
        result = self._old.get(args, _MISSING)
        if result is _MISSING:
            result = self._function(*args, **kwargs)
        self._add(args, cast("R", result))
        return cast("R", result)

    def _add(self, key: Hashable, result: R) -> None:
        size = _ENTRY_BYTES + bytes_of(key) + bytes_of(result)
        if size > self.max_bytes // _LARGEST_SHARE:
            return
        if self._young_bytes + size > self.max_bytes // 2:
            self._old, self._old_bytes, self._young, self._young_bytes = self._young, self._young_bytes, {}, 0
        self._young[key] = result
        self._young_bytes += size

    @property
    def size_bytes(self) -> int:
        """About how many bytes the stored results take."""
        return self._young_bytes + self._old_bytes

    def clear(self) -> None:
        """Forget all results."""
        self._young, self._old, self._young_bytes, self._old_bytes = {}, {}, 0, 0


def cached_texts(name: str, weight: int = 1) -> Callable[[Callable[P, R]], TextCache[P, R]]:
    """Return a decorator that makes a module's function a cache named `name`."""

    def decorate(function: Callable[P, R]) -> TextCache[P, R]:
        cache = TextCache(function, weight)
        CACHES[name] = cache
        limit_caches(DEFAULT_CACHES_BYTES)
        return cache

    return decorate


def limit_caches(max_bytes: int) -> None:
    """Divide `max_bytes` among all caches by their weights. A process calls this when it starts."""
    weights = sum(cache.weight for cache in CACHES.values())
    for cache in CACHES.values():
        cache.max_bytes = max_bytes * cache.weight // weights
        cache.clear()


def cache_sizes() -> dict[str, float]:
    """Return about how many bytes each cache takes, by name."""
    return {name: float(cache.size_bytes) for name, cache in CACHES.items()}


def bytes_of(value: Any) -> int:
    """Return about how many bytes a value takes: texts, and containers of them."""
    if isinstance(value, tuple | list):
        return sys.getsizeof(value) + sum(map(bytes_of, value))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(bytes_of(key) + bytes_of(item) for key, item in value.items())
    return sys.getsizeof(value) if isinstance(value, str | bytes) else 0
