"""The profile store in one Redis server, standalone or replicated."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterCrossSlotError, MovedError, NoScriptError

from domain.identity.model import Label
from profile_store import encoding
from profile_store.keys import Keys
from profile_store.port import Checkpoint, DocumentKind, GuardedDocument, TopicPartition, Writes
from profile_store.redis_base import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, MAX_CONNECTIONS, SCAN_COUNT, RedisBase, Script
from profile_store.redis_connection import connection_options, find_tls_refusal
from runtime.clock import Clock
from runtime.errors import Misconfigured, StateLost
from runtime.settings import Settings

_SAVE_SCRIPT: Final = Script.load("save")
_NEIGHBOURS_SCRIPT: Final = Script.load("neighbours")


class RedisStore(RedisBase):
    """A ProfileStore over one Redis server.

    `save` is one Lua script: it checks position and fence, writes everything and moves the position, and nothing else runs in
    between. So a worker writes nothing at all when another one has moved the position, and the append-only file never has half
    a slice.

    The driver repeats no call. After an interrupted `save`, the position that the next `load` returns shows whether it ran.
    """

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        options = connection_options(settings)
        try:
            pool = BlockingConnectionPool.from_url(
                settings.redis_url.get_secret_value(),
                max_connections=MAX_CONNECTIONS,
                timeout=None,  # the time limit of the call includes this wait
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=None,  # as above
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                **options,
            )
        except ValueError:
            raise Misconfigured(
                "ONEFOLD_REDIS_URL is not an address of Redis: use redis://host:port/0, rediss://, unix:///path, "
                "or redis+cluster://host:port,host:port for a cluster"
            ) from None
        self._redis: Redis = Redis.from_pool(pool)
        server = pool.connection_kwargs
        hosts = [(server.get("host", "localhost"), server.get("port", 6379))]
        super().__init__(Keys(settings.environment), clock, call_timeout_s, lambda: find_tls_refusal(settings, hosts))
        self._execute_command: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        position, paused_until, fence, definitions_offset = await self._run_command("MGET", *self._checkpoint_keys(topic_partition))
        return self._checkpoint(_parse_offset(position), paused_until, fence, _parse_offset(definitions_offset))

    async def load(
        self, topic_partition: TopicPartition, kind: DocumentKind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Checkpoint, dict[str, GuardedDocument], dict[str, Label]]:
        # One MGET: redis-py spends 10 to 20 us on a command, but 2 us on one more key.
        position, paused_until, fence, definitions_offset, *raw_values = await self._run_command(
            "MGET",
            *self._checkpoint_keys(topic_partition),
            *self._keys.of_many(kind, ids),
            *self._keys.of_many("label", labels),
        )
        documents = {name: encoding.unpack_document(value) for name, value in zip(ids, raw_values, strict=False)}
        raw_labels = raw_values[len(ids) :]
        return (
            self._checkpoint(_parse_offset(position), paused_until, fence, _parse_offset(definitions_offset)),
            documents,
            {node: encoding.unpack_label(node, value) for node, value in zip(labels, raw_labels, strict=True)},
        )

    async def save(
        self, topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        keys, arguments = self._script_arguments(topic_partition, writes)
        expectations = ("" if expected is None else expected, position, "" if fence is None else fence)
        reply = await self._with_timeout(
            "save", lambda: self._run_script(_SAVE_SCRIPT, len(keys), *keys, *expectations, *arguments)
        )
        if reply[0] == 0:
            raise StateLost(
                f"{topic_partition.guard_name}: the position has moved since this worker loaded it, or its writers were fenced"
            )
        documents = list(writes.documents)
        return frozenset(documents[index] for index in reply[1:])

    async def fence_writers(self, topic_partition: TopicPartition) -> Checkpoint:
        await self._run_command("INCR", self._keys.of("fence", topic_partition.guard_name))
        return await self.checkpoint(topic_partition)

    def _script_arguments(self, topic_partition: TopicPartition, writes: Writes) -> tuple[list[str], list[str | bytes | int]]:
        """Return KEYS, and ARGV from the counts on, in the order of `lua/save.lua`."""
        of = self._keys.of
        keys = [of("position", topic_partition.guard_name), of("fence", topic_partition.guard_name)]
        packed = encoding.pack_writes(writes)
        arguments: list[str | bytes | int] = [len(packed.documents), len(packed.plain), len(packed.fields), len(packed.timers)]
        for kind, name, value in (*packed.documents, *packed.plain):
            keys.append(of(kind, name))
            arguments.append(value)
        for field_kind, node, field, value in packed.fields:
            keys.append(of(field_kind, node))
            arguments += (field, value)
        keys += [of("timer", topic_partition.guard_name)] * len(packed.timers)
        for profile_id, due_ms in packed.timers:
            arguments += (profile_id, "" if due_ms is None else due_ms)
        return keys, arguments

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _run_script(self, script: Script, *arguments: Any) -> Any:
        try:
            return await self._execute_command("EVALSHA", script.sha, *arguments)
        except NoScriptError:  # the server is new or was restarted; the script did not run
            return await self._execute_command("EVAL", script.text, *arguments)

    async def _execute(self, *parts: Any) -> Any:
        return await self._execute_command(*parts)

    async def _fetch_values(self, keys: Sequence[str]) -> list[bytes | None]:
        raw_values: list[bytes | None] = await self._execute_command("MGET", *keys)
        return raw_values

    async def _fetch_flat_hashes(self, keys: Sequence[str], max_fields: int) -> list[list[bytes] | None]:
        flat_hashes: list[list[bytes] | None] = await self._run_script(_NEIGHBOURS_SCRIPT, len(keys), *keys, max_fields)
        return flat_hashes

    async def _unlink(self, keys: Sequence[str]) -> None:
        await self._execute_command("UNLINK", *keys)

    async def _scan_key_pages(self, pattern: str) -> AsyncGenerator[list[bytes], None]:
        cursor: int | bytes = 0
        while True:
            cursor, page = await self._run_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            yield page
            if int(cursor) == 0:
                return

    def _remedy(self, error: BaseException) -> str | None:
        if isinstance(error, (MovedError, ClusterCrossSlotError)):
            return "ONEFOLD_REDIS_URL names a node of a Redis Cluster: write its address as redis+cluster://host:port"
        return super()._remedy(error)


def _parse_offset(position: bytes | None) -> int | None:
    return None if position is None else int(position)
