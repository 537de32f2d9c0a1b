"""The profile store in Redis: what is true now."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError

from profile_store import values
from profile_store.keys import HOLD_MS, LETTERS, Keys
from profile_store.port import MAX_FIELDS, Document, Kind, Label, Members, Place, Scanned, Standing, Ties, Writes
from runtime.clock import Clock
from runtime.errors import Misconfigured, StateLost, Transient
from runtime.settings import Settings

CALL_TIMEOUT_S: Final = 5.0
"""A slice's call takes milliseconds. Five seconds outlast a fork or a slow disk, and end before Kafka's session timeout."""
CONNECT_TIMEOUT_S: Final = 2.0
"""A local or same-zone server accepts at once; one that does not is down."""
MAX_CONNECTIONS: Final = 16
"""One for each call under way; more callers than that wait for one, within the call's bound."""
SCAN_COUNT: Final = 1000
SCAN_FIELDS: Final = 1_000_000
"""A node with more neighbours than this is left out of a scan of the evidence: its other ends have it."""


def _lua(name: str) -> tuple[bytes, str]:
    text = files("profile_store").joinpath("lua", f"{name}.lua").read_bytes()
    return text, hashlib.sha1(text, usedforsecurity=False).hexdigest()


_SAVE, _SAVE_SHA = _lua("save")
_TIES, _TIES_SHA = _lua("ties")


class RedisStore:
    """A ProfileStore over one Redis server, standalone or replicated.

    `save` is one Lua script: position checked, all written, position moved, with nothing in between. So a worker whose
    position has moved on without it writes nothing at all, and the append-only file never holds half a slice. Each write
    touches one key, so on a cluster the script can run once for each slot, the position's slot last. There the promise is
    less: guarded documents and the position stay right whoever writes; labels, members, edges and timers of a zombie may
    be written, and its successor, which starts from the stored position, writes them again.

    A call is not retried here: whether a `save` that was cut off took place is known from the position, by `load`.
    """

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._clock = clock
        self._keys = Keys(settings.environment)
        self._call_timeout_s = call_timeout_s
        try:
            pool = BlockingConnectionPool.from_url(
                settings.redis_url.get_secret_value(),
                max_connections=MAX_CONNECTIONS,
                timeout=None,  # the call's bound covers the wait
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=None,  # the same
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except ValueError:
            raise Misconfigured(
                "ONEFOLD_REDIS_URL is not an address of Redis: use redis://host:port/0, rediss:// or unix:///path"
            ) from None
        self._redis: Redis = Redis.from_pool(pool)
        self._execute: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def standing(self, place: Place) -> Standing:
        position, held = await self._command("MGET", self._keys.of("position", place.name), self._keys.hold)
        return self._standing(position, held)

    async def load(
        self, place: Place, kind: Kind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Standing, dict[str, Document], dict[str, Label]]:
        # One MGET: redis-py spends 10 to 20 us on a command, but 2 us on one more key.
        position, held, *found = await self._command(
            "MGET",
            self._keys.of("position", place.name),
            self._keys.hold,
            *self._keys.many(kind, ids),
            *self._keys.many("label", labels),
        )
        documents = {name: values.unpack_document(value) for name, value in zip(ids, found, strict=False)}
        rest = found[len(ids) :]
        return (
            self._standing(position, held),
            documents,
            {node: values.unpack_label(node, value) for node, value in zip(labels, rest, strict=True)},
        )

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
        found = await self._bounded("HGETALL", lambda: self._script(_TIES, _TIES_SHA, len(keys), *keys, most))
        return {
            node: None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))
            for node, flat in zip(nodes, found, strict=True)
        }

    async def save(self, place: Place, expected: int | None, position: int, writes: Writes) -> frozenset[tuple[Kind, str]]:
        keys, arguments = self._packed(place, writes)
        answer = await self._bounded(
            "save",
            lambda: self._script(_SAVE, _SAVE_SHA, len(keys), *keys, "" if expected is None else expected, position, *arguments),
        )
        if answer[0] == 0:
            raise StateLost(f"{place.name}: the stored position is another than the one this worker has seen")
        documents = list(writes.documents)
        return frozenset(documents[index] for index in answer[1:])

    def _packed(self, place: Place, writes: Writes) -> tuple[list[str], list[str | bytes | int]]:
        """KEYS, and ARGV from the counts on, as `lua/save.lua` wants them."""
        of = self._keys.of
        keys = [of("position", place.name)]
        ties = 2 * (len(writes.edges) + len(writes.decisions))
        arguments: list[str | bytes | int] = [
            len(writes.documents), len(writes.labels) + len(writes.members), ties, len(writes.timers)
        ]  # fmt: skip
        for (kind, name), document in writes.documents.items():
            keys.append(of(kind, name))
            arguments.append(values.pack_document(document))
        for node, label in writes.labels.items():
            keys.append(of("label", node))
            arguments.append(values.pack_label(label))
        for profile_id, members in writes.members.items():
            keys.append(of("members", profile_id))
            arguments.append(values.pack_members(members))
        for (a, b), edge in writes.edges.items():
            value = values.pack_edge(edge)
            keys += (of("edges", a), of("edges", b))
            arguments += (b, value, a, value)
        for (decided, a, b), decision in writes.decisions.items():
            value = values.pack_decision(decision)
            keys += (of("edges", a), of("edges", b))
            arguments += (values.decision_field(decided, b), value, values.decision_field(decided, a), value)
        keys += [of("timer", place.name)] * len(writes.timers)
        for profile_id, due_ms in writes.timers.items():
            arguments += (profile_id, "" if due_ms is None else due_ms)
        return keys, arguments

    async def _script(self, text: bytes, sha: str, *arguments: Any) -> Any:
        try:
            return await self._execute("EVALSHA", sha, *arguments)
        except NoScriptError:  # a new or restarted server; nothing has run
            return await self._execute("EVAL", text, *arguments)

    async def due_timers(self, place: Place, until_ms: int, limit: int) -> list[tuple[str, int]]:
        found = await self._command(
            "ZRANGE", self._keys.of("timer", place.name), "-inf", until_ms, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES"
        )
        flat = iter(found)
        return [(profile_id.decode(), int(due_ms)) for profile_id, due_ms in zip(flat, flat, strict=True)]

    async def next_timer(self, place: Place) -> int | None:
        found = await self._command("ZRANGE", self._keys.of("timer", place.name), 0, 0, "WITHSCORES")
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
            async for names in self._names(kind):
                await self._command("UNLINK", *self._keys.many(kind, names))

    async def ping(self) -> None:
        await self._command("PING")

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _names(self, kind: str) -> AsyncGenerator[list[str], None]:
        """The names of all entries of a kind, in pages. SCAN may say a key twice, so they are remembered."""
        cursor: int | bytes = 0
        seen: set[str] = set()
        while True:
            cursor, page = await self._command("SCAN", cursor, "MATCH", self._keys.pattern(kind), "COUNT", SCAN_COUNT)
            fresh = {self._keys.name(kind, key) for key in page} - seen
            seen |= fresh
            if fresh:
                yield list(fresh)
            if int(cursor) == 0:
                return

    async def _get(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = await self._command("MGET", *self._keys.many(kind, names)) if names else []
        return found

    def _standing(self, position: bytes | None, held: bytes | None) -> Standing:
        return Standing(None if position is None else int(position), not self._lapsed(held))

    def _lapsed(self, until: bytes | None) -> bool:
        """Whether an entry's time is over. Its value says so by the injected clock; the server's expiry only clears it away."""
        return until is None or int(until) <= self._clock.now_ms()

    async def _command(self, *parts: Any) -> Any:
        return await self._bounded(parts[0], lambda: self._execute(*parts))

    async def _bounded(self, what: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of a call within the bound; raises Transient, or Misconfigured when the server wants other credentials."""
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await call()
        except AuthenticationError as error:
            raise Misconfigured("Redis refuses the user or password in ONEFOLD_REDIS_URL: correct them") from error
        except TimeoutError as error:
            raise Transient(f"Redis did not answer {what} within {self._call_timeout_s:g} s") from error
        except (RedisError, OSError) as error:
            raise Transient(f"Redis failed {what}: {type(error).__name__}") from error
