"""The profile store in one Redis server, standalone or replicated."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterCrossSlotError, MovedError, NoScriptError

from profile_store import encoding as values
from profile_store.keys import Keys
from profile_store.port import Document, Kind, Label, Place, Standing, Writes
from profile_store.redis_base import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, MAX_CONNECTIONS, SCAN_COUNT, RedisBase, Script
from runtime.clock import Clock
from runtime.errors import Misconfigured, StateLost
from runtime.settings import Settings

_SAVE: Final = Script.named("save")
_TIES: Final = Script.named("ties")


class RedisStore(RedisBase):
    """A ProfileStore over one Redis server.

    `save` is one Lua script: position checked, all written, position moved, with nothing in between. So a worker whose
    position has moved on without it writes nothing at all, and the append-only file never holds half a slice.

    A call is not retried here: whether a `save` that was cut off took place is known from the position, by `load`.
    """

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        super().__init__(Keys(settings.environment), clock, call_timeout_s)
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
                "ONEFOLD_REDIS_URL is not an address of Redis: use redis://host:port/0, rediss://, unix:///path, "
                "or redis+cluster://host:port,host:port for a cluster"
            ) from None
        self._redis: Redis = Redis.from_pool(pool)
        self._send: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def standing(self, place: Place) -> Standing:
        position, held, fence, definitions = await self._command("MGET", *self._of_standing(place))
        return self._standing(_number(position), held, fence, _number(definitions))

    async def load(
        self, place: Place, kind: Kind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Standing, dict[str, Document], dict[str, Label]]:
        # One MGET: redis-py spends 10 to 20 us on a command, but 2 us on one more key.
        position, held, fence, definitions, *found = await self._command(
            "MGET",
            *self._of_standing(place),
            *self._keys.many(kind, ids),
            *self._keys.many("label", labels),
        )
        documents = {name: values.unpack_document(value) for name, value in zip(ids, found, strict=False)}
        rest = found[len(ids) :]
        return (
            self._standing(_number(position), held, fence, _number(definitions)),
            documents,
            {node: values.unpack_label(node, value) for node, value in zip(labels, rest, strict=True)},
        )

    async def save(
        self, place: Place, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[Kind, str]]:
        keys, arguments = self._packed(place, writes)
        seen = ("" if expected is None else expected, position, "" if fence is None else fence)
        answer = await self._bounded("save", lambda: self._script(_SAVE, len(keys), *keys, *seen, *arguments))
        if answer[0] == 0:
            raise StateLost(f"{place.name}: the stored position is another than the one this worker has seen, or it was shut out")
        documents = list(writes.documents)
        return frozenset(documents[index] for index in answer[1:])

    async def shut_out(self, place: Place) -> Standing:
        await self._command("INCR", self._keys.of("fence", place.name))
        return await self.standing(place)

    def _packed(self, place: Place, writes: Writes) -> tuple[list[str], list[str | bytes | int]]:
        """KEYS, and ARGV from the counts on, as `lua/save.lua` wants them."""
        of = self._keys.of
        keys = [of("position", place.name), of("fence", place.name)]
        packed = values.pack_writes(writes)
        arguments: list[str | bytes | int] = [len(packed.documents), len(packed.plain), len(packed.fields), len(packed.timers)]
        for kind, name, value in (*packed.documents, *packed.plain):
            keys.append(of(kind, name))
            arguments.append(value)
        for node, field, value in packed.fields:
            keys.append(of("edges", node))
            arguments += (field, value)
        keys += [of("timer", place.name)] * len(packed.timers)
        for profile_id, due_ms in packed.timers:
            arguments += (profile_id, "" if due_ms is None else due_ms)
        return keys, arguments

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _script(self, script: Script, *arguments: Any) -> Any:
        try:
            return await self._send("EVALSHA", script.sha, *arguments)
        except NoScriptError:  # a new or restarted server; nothing has run
            return await self._send("EVAL", script.text, *arguments)

    async def _execute(self, *parts: Any) -> Any:
        return await self._send(*parts)

    async def _values(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = await self._send("MGET", *keys)
        return found

    async def _flat_hashes(self, keys: Sequence[str], most: int) -> list[list[bytes] | None]:
        found: list[list[bytes] | None] = await self._script(_TIES, len(keys), *keys, most)
        return found

    async def _unlink(self, keys: Sequence[str]) -> None:
        await self._send("UNLINK", *keys)

    async def _pages(self, pattern: str) -> AsyncGenerator[list[bytes], None]:
        cursor: int | bytes = 0
        while True:
            cursor, page = await self._command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            yield page
            if int(cursor) == 0:
                return

    def _cure(self, error: BaseException) -> str | None:
        if isinstance(error, (MovedError, ClusterCrossSlotError)):
            return "ONEFOLD_REDIS_URL names a node of a Redis Cluster: write its address as redis+cluster://host:port"
        return super()._cure(error)


def _number(position: bytes | None) -> int | None:
    return None if position is None else int(position)
