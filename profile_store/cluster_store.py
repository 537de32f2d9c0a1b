"""The profile store in a Redis Cluster. It keeps the promises of the port although a slice's keys lie on several primaries."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec

from domain.identity.model import Label
from profile_store import encoding
from profile_store.cluster_client import ClusterClient, SlotCall
from profile_store.encoding import PackedWrites
from profile_store.keys import WRITE_AHEAD, Keys
from profile_store.port import Checkpoint, DocumentKind, GuardedDocument, TopicPartition, Writes
from profile_store.redis_base import CALL_TIMEOUT_S, SCAN_COUNT, RedisBase, Script
from profile_store.redis_connection import connection_options, find_tls_refusal
from runtime.clock import Clock
from runtime.errors import Misconfigured, StateLost, Transient
from runtime.settings import Settings
from runtime.tls import causes

_CHECKPOINT_SCRIPT: Final = Script.load("checkpoint")
_WRITE_FENCED_SCRIPT: Final = Script.load("write_fenced")
_NEIGHBOURS_SCRIPT: Final = Script.load("neighbours")
FENCE_BYTES: Final = 14
"""The length of an entry's fence (13 digits) and the space after it."""
ENTRY_FORMAT: Final = 1


class WriteAheadEntry(msgspec.Struct, frozen=True, array_like=True):
    """The body of a write-ahead entry. `format` comes first, so that a reader can refuse an unknown format before it reads more."""

    format: int
    position: int
    writes: PackedWrites


_ENTRY_ENCODER: Final = msgspec.msgpack.Encoder()
_ENTRY_DECODER: Final = msgspec.msgpack.Decoder(WriteAheadEntry)


class ClusterStore(RedisBase):
    """A ProfileStore over a Redis Cluster.

    A script of a cluster reaches one slot only, so `save` takes three steps. First all writes go into the partition's write-ahead
    entry, which lies in the slot of the position, provided that the position is the expected one: from here on the slice counts as
    saved. Then every key is written where it lives. Last, in the partition's slot, the position and the timers move and the entry
    is deleted. Every worker that finds an unfinished entry finishes it before it does anything else. So a crash between the steps
    leaves all of a slice or nothing.

    Every entry has a fence, a number that grows with every entry of the partition, and every value that the entry writes is stored
    with it. A worker that stalled half way and continues late overwrites nothing newer, and an entry that is finished twice has the
    same effect as one that is finished once.
    """

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        options = connection_options(settings)
        try:
            self._link = ClusterClient(settings.redis_url.get_secret_value(), options)
        except (ValueError, TypeError):
            raise Misconfigured(
                "ONEFOLD_REDIS_URL is not an address of a Redis Cluster: use redis+cluster://host:port,host:port or rediss+cluster://"
            ) from None
        hosts = self._link.seed_hosts
        super().__init__(Keys(settings.environment, tagged=True), clock, call_timeout_s, lambda: find_tls_refusal(settings, hosts))
        self._observed_positions: dict[str, bytes | None] = {}
        self._observed_fences: dict[str, bytes | None] = {}

    async def checkpoint(self, topic_partition: TopicPartition) -> Checkpoint:
        checkpoint: Checkpoint
        checkpoint, _ = await self._with_timeout("checkpoint", lambda: self._load_consistent(topic_partition, []))
        return checkpoint

    async def load(
        self, topic_partition: TopicPartition, kind: DocumentKind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Checkpoint, dict[str, GuardedDocument], dict[str, Label]]:
        keys = [*self._keys.of_many(kind, ids), *self._keys.of_many("label", labels)]
        checkpoint, raw_values = await self._with_timeout("load", lambda: self._load_consistent(topic_partition, keys))
        documents = {name: encoding.unpack_document(value) for name, value in zip(ids, raw_values, strict=False)}
        raw_labels = raw_values[len(ids) :]
        return checkpoint, documents, {n: encoding.unpack_label(n, value) for n, value in zip(labels, raw_labels, strict=True)}

    async def _load_consistent(self, topic_partition: TopicPartition, keys: Sequence[str]) -> tuple[Checkpoint, list[bytes | None]]:
        """Return the checkpoint of the partition, and values that are not older than it.

        Values and position are requested together, but from several primaries. So a value may be read before a save, and the
        position after it. The values are current only if the position was already observed before they were requested; otherwise
        they are read again. In the same way the pause of writers may be older than the fence.
        """
        calls = _get_calls([self._keys.of(WRITE_AHEAD, topic_partition.guard_name), *self._checkpoint_keys(topic_partition), *keys])
        while True:
            observed_position = self._observed_positions.get(topic_partition.guard_name, b"never")
            observed_fence = self._observed_fences.get(topic_partition.guard_name, b"never")
            raw_entry, raw_position, paused_until, fence, definitions_offset, *raw_values = await self._link.run(calls)
            if raw_entry is not None:
                await self._finish_entry(topic_partition, raw_entry)
                continue
            if fence == observed_fence and (not keys or raw_position == observed_position):
                checkpoint = self._checkpoint(
                    _parse_position(raw_position), paused_until, fence, _parse_position(definitions_offset)
                )
                return checkpoint, _strip_fences(raw_values)
            self._observed_positions[topic_partition.guard_name] = raw_position
            self._observed_fences[topic_partition.guard_name] = fence

    async def save(
        self, topic_partition: TopicPartition, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[DocumentKind, str]]:
        entry = WriteAheadEntry(ENTRY_FORMAT, position, encoding.pack_writes(writes))
        expectations = ("" if expected is None else expected, "" if fence is None else fence)
        refused = await self._with_timeout("save", lambda: self._save_entry(topic_partition, *expectations, entry))
        return frozenset(refused)

    async def fence_writers(self, topic_partition: TopicPartition) -> Checkpoint:
        await self._run_command("INCR", self._keys.of("fence", topic_partition.guard_name))
        return await self.checkpoint(topic_partition)

    async def _save_entry(
        self, topic_partition: TopicPartition, expected: int | str, fence: int | str, entry: WriteAheadEntry
    ) -> list[tuple[DocumentKind, str]]:
        writes = entry.writes
        if not (writes.documents or writes.plain or writes.fields):
            request: tuple[Any, ...] = ("move", expected, entry.position, fence, *_flatten_timers(writes))
        else:
            request = ("begin", expected, _ENTRY_ENCODER.encode(entry), fence)
        status, *reply = await self._run_partition_script(topic_partition, *request)
        if status == 2:
            await self._finish_entry(topic_partition, reply[0])
        if status != 1:
            raise StateLost(
                f"{topic_partition.guard_name}: the position has moved since this worker loaded it, or its writers were fenced"
            )
        if request[0] == "move":
            self._observed_positions[topic_partition.guard_name] = b"%d %s" % (entry.position, reply[0])
            return []
        return await self._write_entry(topic_partition, reply[0], entry)

    async def _finish_entry(self, topic_partition: TopicPartition, raw_entry: bytes) -> None:
        """Execute the writes of an entry that another worker, or this one before a failure, did not finish."""
        body = raw_entry[FENCE_BYTES:]
        try:
            entry = _ENTRY_DECODER.decode(body)
        except msgspec.DecodeError as error:
            raise Transient(
                f"{topic_partition.guard_name}: another version of Onefold wrote the write-ahead entry; a worker of that version "
                "must finish it"
            ) from error
        await self._write_entry(topic_partition, raw_entry[: FENCE_BYTES - 1], entry)

    async def _write_entry(
        self, topic_partition: TopicPartition, fence: bytes, entry: WriteAheadEntry
    ) -> list[tuple[DocumentKind, str]]:
        """Execute all writes of an entry, then finish the entry; return the documents that were refused."""
        writes = entry.writes
        replies = await self._link.run(self._fenced_calls(fence, writes))
        status, *_ = await self._run_partition_script(
            topic_partition, "finish", fence, entry.position, "", *_flatten_timers(writes)
        )
        if status == 1:
            self._observed_positions[topic_partition.guard_name] = b"%d %s" % (entry.position, fence)
        documents = zip(writes.documents, replies, strict=False)
        return [(kind, name) for (kind, name, _), reply in documents if reply == 0]

    def _fenced_calls(self, fence: bytes, writes: PackedWrites) -> list[SlotCall]:
        """Return one call for every key of an entry, documents first."""
        of = self._keys.of
        calls = [
            SlotCall.of_script(_WRITE_FENCED_SCRIPT, [of(kind, name)], fence, "document", value)
            for kind, name, value in writes.documents
        ]
        calls += [
            SlotCall.of_script(_WRITE_FENCED_SCRIPT, [of(kind, name)], fence, "plain", value) for kind, name, value in writes.plain
        ]
        hashes: dict[str, list[str | bytes]] = {}
        for field_kind, node, field, value in writes.fields:
            hashes.setdefault(of(field_kind, node), []).extend((field, value))
        calls += [
            SlotCall.of_script(_WRITE_FENCED_SCRIPT, [key], fence, "fields", *names_and_values)
            for key, names_and_values in hashes.items()
        ]
        return calls

    async def _run_partition_script(self, topic_partition: TopicPartition, *arguments: Any) -> list[Any]:
        keys = [self._keys.of(kind, topic_partition.guard_name) for kind in ("position", WRITE_AHEAD, "timer", "fence")]
        (reply,) = await self._link.run([SlotCall.of_script(_CHECKPOINT_SCRIPT, keys, *arguments)])
        return list(reply)

    async def ping(self) -> None:
        async def ping_primaries() -> None:
            primaries = await self._link.primaries()
            await asyncio.gather(*(self._link.run_on(node, "PING") for node in primaries))
            await self._link.run(
                _get_calls([self._keys.writer_pause])
            )  # a primary that answers may still know of slots without one

        await self._with_timeout("PING", ping_primaries)

    async def aclose(self) -> None:
        await self._link.aclose()

    async def _execute(self, *parts: Any) -> Any:
        (reply,) = await self._link.run([SlotCall(parts[1], parts[0], parts[1:])])
        return reply

    async def _fetch_values(self, keys: Sequence[str]) -> list[bytes | None]:
        return _strip_fences(await self._link.run(_get_calls(keys)))

    async def _fetch_flat_hashes(self, keys: Sequence[str], max_fields: int) -> list[list[bytes] | None]:
        replies = await self._link.run([SlotCall.of_script(_NEIGHBOURS_SCRIPT, [key], max_fields) for key in keys])
        for (flat,) in replies:
            if flat is not None:
                flat[1::2] = [value[FENCE_BYTES:] for value in flat[1::2]]
        return [flat for (flat,) in replies]

    async def _unlink(self, keys: Sequence[str]) -> None:
        await self._link.run([SlotCall(key, "UNLINK", (key,)) for key in keys])

    async def _wipe_kind(self, kind: str) -> None:
        if kind == "position":
            await super()._wipe_kind(WRITE_AHEAD)
        await super()._wipe_kind(kind)

    async def _scan_key_pages(self, pattern: str) -> AsyncGenerator[list[bytes], None]:
        for node in await self._with_timeout("SCAN", self._link.primaries):
            cursor: int | bytes = 0
            while True:
                parts = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
                cursor, page = await self._with_timeout("SCAN", lambda node=node, parts=parts: self._link.run_on(node, *parts))  # type: ignore[misc]  # mypy does not infer a lambda's default
                yield page
                if int(cursor) == 0:
                    break

    def _remedy(self, error: BaseException) -> str | None:
        for cause in causes(error):
            if "Cluster mode is not enabled" in str(cause):
                return "ONEFOLD_REDIS_URL names a cluster, but its server is none: write its address as redis://host:port/0"
        return super()._remedy(error)


def _get_calls(keys: Sequence[str]) -> list[SlotCall]:
    return [SlotCall(key, "GET", (key,)) for key in keys]


def _parse_position(raw_position: bytes | None) -> int | None:
    return None if raw_position is None else int(raw_position.split()[0])


def _strip_fences(fenced_values: Sequence[bytes | None]) -> list[bytes | None]:
    return [None if value is None else value[FENCE_BYTES:] for value in fenced_values]


def _flatten_timers(writes: PackedWrites) -> list[str | int]:
    flat: list[str | int] = []
    for profile_id, due_ms in writes.timers:
        flat += (profile_id, "" if due_ms is None else due_ms)
    return flat
