"""What the drivers of a Redis server and of a Redis Cluster have in common."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import AuthenticationError, RedisClusterException, RedisError

from profile_store import encoding as values
from profile_store.keys import HOLD_MS, LETTERS, Keys
from profile_store.port import DEFINITIONS, MAX_FIELDS, Document, Kind, Label, Members, Place, Scanned, Standing, Ties
from runtime.clock import Clock
from runtime.errors import Misconfigured, Transient

CALL_TIMEOUT_S: Final = 5.0
"""A slice's call takes milliseconds. Five seconds outlast a fork or a slow disk, and end before Kafka's session timeout."""
CONNECT_TIMEOUT_S: Final = 2.0
"""A local or same-zone server accepts at once; one that does not is down."""
MAX_CONNECTIONS: Final = 16
"""One for each call under way; more callers than that wait for one, within the call's bound."""
SCAN_COUNT: Final = 1000
SCAN_FIELDS: Final = 1_000_000
"""A node with more neighbours than this is left out of a scan of the evidence: its other ends have it."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that a server knows it by."""

    text: bytes
    sha: str

    @classmethod
    def named(cls, name: str) -> "Script":
        """The script of `lua/<name>.lua`."""
        text = files("profile_store").joinpath("lua", f"{name}.lua").read_bytes()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


class RedisBase(ABC):
    """All of a ProfileStore that does not depend on where keys are. A driver adds `standing`, `load` and `save`."""

    def __init__(self, keys: Keys, clock: Clock, call_timeout_s: float) -> None:
        self._keys, self._clock, self._call_timeout_s = keys, clock, call_timeout_s

    @abstractmethod
    async def _execute(self, *parts: Any) -> Any:
        """The answer of a command of at most one key."""

    @abstractmethod
    async def _values(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of entries that `save` wrote."""

    @abstractmethod
    async def _flat_hashes(self, keys: Sequence[str], most: int) -> list[list[bytes] | None]:
        """Of each hash names and values in turn; None for one that has more than `most` fields."""

    @abstractmethod
    async def _unlink(self, keys: Sequence[str]) -> None:
        """Delete keys."""

    @abstractmethod
    def _pages(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """The keys that match a SCAN pattern, in pages. A key may come twice."""

    async def documents(self, kind: Kind, ids: Sequence[str]) -> dict[str, Document]:
        found = await self._get(kind, ids)
        return {name: values.unpack_document(value) for name, value in zip(ids, found, strict=True)}

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        found = await self._get("label", nodes)
        return {node: values.unpack_label(node, value) for node, value in zip(nodes, found, strict=True)}

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        found = await self._get("members", profile_ids)
        return {name: values.unpack_members(name, value) for name, value in zip(profile_ids, found, strict=True)}

    async def ties(self, nodes: Sequence[str]) -> dict[str, Ties]:
        found = await self._hashes(nodes, MAX_FIELDS)
        return {node: Ties(crowded=True) if fields is None else values.unpack_ties(fields) for node, fields in found.items()}

    async def _hashes(self, nodes: Sequence[str], most: int) -> dict[str, dict[bytes, bytes] | None]:
        """The fields of the nodes' hashes; None for one that has more than `most`."""
        if not nodes:
            return {}
        keys = self._keys.many("edges", nodes)
        found = await self._bounded("HGETALL", lambda: self._flat_hashes(keys, most))
        return {
            node: None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))
            for node, flat in zip(nodes, found, strict=True)
        }

    async def due_timers(self, place: Place, until_ms: int, limit: int) -> list[tuple[str, int]]:
        found = await self._command(
            "ZRANGE", self._keys.of("timer", place.name), "-inf", until_ms, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES"
        )
        flat = iter(found)
        return [(profile_id.decode(), int(due_ms)) for profile_id, due_ms in zip(flat, flat, strict=True)]

    async def next_timer(self, place: Place, after_ms: int | None = None) -> int | None:
        start = "-inf" if after_ms is None else f"({after_ms}"
        found = await self._command(
            "ZRANGE", self._keys.of("timer", place.name), start, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES"
        )
        return int(found[1]) if found else None

    async def claim_delivery(self, key: str) -> bool:
        return self._lapsed(await self._command("GET", self._keys.delivery(key)))

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        await self._command("SET", self._keys.delivery(key), self._clock.now_ms() + ttl_ms, "PX", ttl_ms)

    async def hold(self, on: bool) -> None:  # noqa: FBT001 - a switch, as the port has it
        if on:
            await self._command("SET", self._keys.hold, self._clock.now_ms() + HOLD_MS, "PX", HOLD_MS)
        else:
            await self._command("UNLINK", self._keys.hold)

    async def scan(self, kind: Scanned) -> AsyncGenerator[tuple[str, bytes], None]:
        async for names in self._names(kind):
            if kind == "edges":
                for node, fields in (await self._hashes(names, SCAN_FIELDS)).items():
                    if fields:
                        yield node, values.ties_as_scanned(fields)
                continue
            for name, value in zip(names, await self._get(kind, names), strict=True):
                if kind in ("fragment", "membership", "group"):
                    value = values.unpack_document(value).data
                if value is not None:
                    yield name, value

    async def wipe(self, kinds: Collection[str]) -> None:
        unknown = set(kinds) - LETTERS.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)} cannot be wiped: the kinds are {', '.join(LETTERS)}")
        for kind in kinds:
            await self._wipe(kind)

    async def _wipe(self, kind: str) -> None:
        async for names in self._names(kind):
            keys = self._keys.many(kind, names)
            await self._bounded("UNLINK", lambda keys=keys: self._unlink(keys))  # type: ignore[misc]  # mypy does not infer a lambda's default

    async def ping(self) -> None:
        await self._command("PING")

    async def _names(self, kind: str) -> AsyncGenerator[list[str], None]:
        """The names of all entries of a kind, in pages, each once."""
        seen: set[str] = set()
        async for page in self._pages(self._keys.pattern(kind)):
            fresh = {self._keys.name(kind, key) for key in page} - seen
            seen |= fresh
            if fresh:
                yield list(fresh)

    async def _get(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        keys = self._keys.many(kind, names)
        found: list[bytes | None] = await self._bounded("MGET", lambda: self._values(keys)) if keys else []
        return found

    def _standing(self, position: int | None, held: bytes | None, fence: bytes | None, definitions: int | None) -> Standing:
        return Standing(position, not self._lapsed(held), int(fence or 0), definitions or 0)

    def _of_standing(self, place: Place) -> list[str]:
        """The keys of a standing, in the order that it is made of."""
        of = self._keys.of
        return [of("position", place.name), self._keys.hold, of("fence", place.name), of("position", DEFINITIONS.name)]

    def _lapsed(self, until: bytes | None) -> bool:
        """Whether an entry's time is over. Its value says so by the injected clock; the server's expiry only clears it away."""
        return until is None or int(until) <= self._clock.now_ms()

    async def _command(self, *parts: Any) -> Any:
        return await self._bounded(parts[0], lambda: self._execute(*parts))

    async def _bounded(self, what: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of a call within the bound; raises Transient, or Misconfigured when an operator must do something."""
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await call()
        except TimeoutError as error:
            raise Transient(f"Redis did not answer {what} within {self._call_timeout_s:g} s") from error
        except (RedisError, RedisClusterException, OSError) as error:
            if cure := self._cure(error):
                raise Misconfigured(cure) from error
            raise Transient(f"Redis failed {what}: {type(error).__name__}") from error

    def _cure(self, error: BaseException) -> str | None:
        """What an operator must do about an error, if it will not pass by itself."""
        if isinstance(error, AuthenticationError):
            return "Redis refuses the user or password in ONEFOLD_REDIS_URL: correct them"
        return None
