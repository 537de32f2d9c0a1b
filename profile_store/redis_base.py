"""What the drivers for one Redis server and for a Redis Cluster have in common."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from domain.identity.model import Label, Members, Neighbours
from profile_store import encoding
from profile_store.keys import KIND_LETTERS, WRITER_PAUSE_MS, Keys
from profile_store.port import (
    DEFINITIONS_PARTITION,
    MAX_FIELDS,
    Checkpoint,
    DocumentKind,
    GuardedDocument,
    ScannableKind,
    TopicPartition,
)
from runtime.bus.epochs import AdoptedLog
from runtime.clock import Clock
from runtime.errors import Misconfigured, Transient
from runtime.tls import causes, explain_refusal

CALL_TIMEOUT_S: Final = 5.0
"""The time limit of a call, which normally takes milliseconds. It outlasts a fork of Redis or a slow disk, and ends before
Kafka's session timeout."""
CONNECT_TIMEOUT_S: Final = 2.0
"""A local or same-zone server accepts at once; one that does not is down."""
MAX_CONNECTIONS: Final = 16
"""Each call in flight uses one connection; further callers wait for a free one, within the time limit of their call."""
SCAN_COUNT: Final = 1000
SCAN_FIELDS: Final = 1_000_000
"""A node with more fields than this is left out of a scan of the evidence; its edges are found at their other ends."""


HashFields = dict[bytes, bytes] | None
"""The fields of a hash; None for one with too many of them."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the hash by which a server knows it."""

    text: bytes
    sha: str

    @classmethod
    def load(cls, name: str) -> "Script":
        """Return the script in `lua/<name>.lua`."""
        text = files("profile_store").joinpath("lua", f"{name}.lua").read_bytes()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


class RedisBase(ABC):
    """The methods of a ProfileStore that do not depend on where keys live. A driver adds `checkpoint`, `load` and `save`."""

    def __init__(self, keys: Keys, clock: Clock, call_timeout_s: float, find_refusal: Callable[[], Awaitable[str | None]]) -> None:
        """Make a store. `find_refusal` says why the server cuts connections, when it is for a certificate."""
        self._keys = keys
        self._find_refusal = find_refusal
        self._clock = clock
        self._call_timeout_s = call_timeout_s

    @abstractmethod
    async def _execute(self, *parts: Any) -> Any:
        """Return the answer to a command with at most one key."""

    @abstractmethod
    async def _fetch_values(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of keys that `save` wrote; None for an absent key."""

    @abstractmethod
    async def _fetch_flat_hashes(self, keys: Sequence[str], max_fields: int) -> list[list[bytes] | None]:
        """Return for each hash its names and values in turn, or None for a hash with more than `max_fields` fields."""

    @abstractmethod
    async def _unlink(self, keys: Sequence[str]) -> None:
        """Delete keys."""

    @abstractmethod
    def _scan_key_pages(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match a SCAN pattern, in pages. A key may come twice."""

    async def documents(self, kind: DocumentKind, ids: Sequence[str]) -> dict[str, GuardedDocument]:
        raw_values = await self._load_values(kind, ids)
        return {name: encoding.unpack_document(value) for name, value in zip(ids, raw_values, strict=True)}

    async def labels(self, nodes: Sequence[str]) -> dict[str, Label]:
        raw_values = await self._load_values("label", nodes)
        return {node: encoding.unpack_label(node, value) for node, value in zip(nodes, raw_values, strict=True)}

    async def members(self, profile_ids: Sequence[str]) -> dict[str, Members]:
        raw_values = await self._load_values("members", profile_ids)
        return {name: encoding.unpack_members(name, value) for name, value in zip(profile_ids, raw_values, strict=True)}

    async def neighbours(self, nodes: Sequence[str]) -> dict[str, Neighbours]:
        hashes = await self._load_hashes(nodes, MAX_FIELDS)
        return {node: encoding.unpack_neighbours(*both) for node, both in hashes.items()}

    async def _load_hashes(self, nodes: Sequence[str], max_fields: int) -> dict[str, tuple[HashFields, HashFields]]:
        """Return the fields of each node's two hashes: that of trusted edges and decisions, and that of public edges."""
        if not nodes:
            return {}
        keys = [*self._keys.of_many("edges", nodes), *self._keys.of_many("public_edges", nodes)]
        flat_hashes = await self._with_timeout("HGETALL", lambda: self._fetch_flat_hashes(keys, max_fields))
        hashes = [None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True)) for flat in flat_hashes]
        return {node: (hashes[index], hashes[len(nodes) + index]) for index, node in enumerate(nodes)}

    async def due_timers(self, topic_partition: TopicPartition, until_ms: int, limit: int) -> list[tuple[str, int]]:
        reply = await self._run_command(
            "ZRANGE",
            self._keys.of("timer", topic_partition.guard_name),
            "-inf",
            until_ms,
            "BYSCORE",
            "LIMIT",
            0,
            limit,
            "WITHSCORES",
        )
        flat = iter(reply)
        return [(profile_id.decode(), int(due_ms)) for profile_id, due_ms in zip(flat, flat, strict=True)]

    async def next_timer(self, topic_partition: TopicPartition, after_ms: int | None = None) -> int | None:
        start = "-inf" if after_ms is None else f"({after_ms}"
        reply = await self._run_command(
            "ZRANGE", self._keys.of("timer", topic_partition.guard_name), start, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES"
        )
        return int(reply[1]) if reply else None

    async def is_delivery_open(self, key: str) -> bool:
        return self._is_expired(await self._run_command("GET", self._keys.delivery(key)))

    async def settle_delivery(self, key: str, ttl_ms: int) -> None:
        await self._run_command("SET", self._keys.delivery(key), self._clock.now_ms() + ttl_ms, "PX", ttl_ms)

    async def claim_run(self, name: str, ttl_ms: int) -> bool:
        return await self._run_command("SET", self._keys.run(name), self._clock.now_ms() + ttl_ms, "NX", "PX", ttl_ms) is not None

    async def pause_writers(self, paused: bool) -> None:  # noqa: FBT001 - a switch, as the port has it
        if paused:
            await self._run_command("SET", self._keys.writer_pause, self._clock.now_ms() + WRITER_PAUSE_MS, "PX", WRITER_PAUSE_MS)
        else:
            await self._run_command("UNLINK", self._keys.writer_pause)

    async def scan(self, kind: ScannableKind) -> AsyncGenerator[tuple[str, bytes], None]:
        if kind == "edges":
            async for entry in self._scan_neighbours():
                yield entry
            return
        async for names in self._scan_names(kind):
            for name, value in zip(names, await self._load_values(kind, names), strict=True):
                if kind in ("fragment", "membership", "group"):
                    value = encoding.unpack_document(value).data
                if value is not None:
                    yield name, value

    async def _scan_neighbours(self) -> AsyncGenerator[tuple[str, bytes], None]:
        for hash_kind in ("edges", "public_edges"):
            async for names in self._scan_names(hash_kind):
                for node, (fields, public_fields) in (await self._load_hashes(names, SCAN_FIELDS)).items():
                    # A node with both hashes is found by its first one.
                    if (hash_kind == "edges" or fields == {}) and (fields or public_fields):
                        yield node, encoding.pack_scanned_neighbours(fields or {}, public_fields or {})

    async def wipe(self, kinds: Collection[str]) -> None:
        unknown = set(kinds) - KIND_LETTERS.keys()
        if unknown:
            raise ValueError(f"{sorted(unknown)} cannot be wiped: the kinds are {', '.join(KIND_LETTERS)}")
        for kind in kinds:
            await self._wipe_kind(kind)

    async def _wipe_kind(self, kind: str) -> None:
        async for names in self._scan_names(kind):
            keys = self._keys.of_many(kind, names)
            await self._with_timeout("UNLINK", lambda keys=keys: self._unlink(keys))  # type: ignore[misc]  # mypy does not infer a lambda's default

    async def adopted_log(self) -> AdoptedLog | None:
        data = await self._run_command("GET", self._keys.adopted_log)
        return None if data is None else encoding.unpack_adopted_log(data)

    async def adopt_log(self, adopted: AdoptedLog) -> None:
        await self._run_command("SET", self._keys.adopted_log, encoding.pack_adopted_log(adopted))

    async def ping(self) -> None:
        await self._run_command("PING")

    async def _scan_names(self, kind: str) -> AsyncGenerator[list[str], None]:
        """Yield the names of all entries of a kind, in pages, each name once."""
        yielded: set[str] = set()
        async for page in self._scan_key_pages(self._keys.pattern(kind)):
            new_names = {self._keys.name(kind, key) for key in page} - yielded
            yielded |= new_names
            if new_names:
                yield list(new_names)

    async def _load_values(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        keys = self._keys.of_many(kind, names)
        raw_values: list[bytes | None] = await self._with_timeout("MGET", lambda: self._fetch_values(keys)) if keys else []
        return raw_values

    def _checkpoint(
        self, position: int | None, paused_until: bytes | None, fence: bytes | None, definitions_offset: int | None
    ) -> Checkpoint:
        return Checkpoint(position, not self._is_expired(paused_until), int(fence or 0), definitions_offset or 0)

    def _checkpoint_keys(self, topic_partition: TopicPartition) -> list[str]:
        """Return the keys of a checkpoint, in the order of the parameters of `_checkpoint`."""
        of = self._keys.of
        return [
            of("position", topic_partition.guard_name),
            self._keys.writer_pause,
            of("fence", topic_partition.guard_name),
            of("position", DEFINITIONS_PARTITION.guard_name),
        ]

    def _is_expired(self, until_ms: bytes | None) -> bool:
        """Return whether the time in a value is over by this worker's clock; the expiry of the key only frees memory."""
        return until_ms is None or int(until_ms) <= self._clock.now_ms()

    async def _run_command(self, *parts: Any) -> Any:
        return await self._with_timeout(parts[0], lambda: self._execute(*parts))

    async def _with_timeout(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer of a call within the time limit.

        Raises Transient when Redis fails or does not answer, Misconfigured when an operator must correct something.
        """
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await call()
        except TimeoutError as error:
            raise Transient(f"Redis did not answer {operation} within {self._call_timeout_s:g} s") from error
        except (RedisError, RedisClusterException, OSError) as error:
            if remedy := self._remedy(error) or await self._explain_cut(error):
                raise Misconfigured(remedy) from error
            raise Transient(f"Redis failed {operation}: {type(error).__name__}") from error

    async def _explain_cut(self, error: BaseException) -> str | None:
        is_cut = isinstance(error, RedisConnectionError) and not any(isinstance(c, ConnectionRefusedError) for c in causes(error))
        refusal = await self._find_refusal() if is_cut else None
        return f"Redis: {refusal}" if refusal else None

    def _remedy(self, error: BaseException) -> str | None:
        """Return what an operator must do about an error, or None for an error that may pass by itself."""
        if explanation := explain_refusal(error, "redis"):
            return f"Redis: {explanation}"
        for cause in causes(error):
            if isinstance(cause, AuthenticationError):
                return (
                    "Redis refuses the user or password in ONEFOLD_REDIS_URL, or in ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD: "
                    "correct them"
                )
            if isinstance(cause, NoPermissionError):
                return "Redis forbids its user what Onefold needs: give the user the rights in docs/operating.md"
        return None
