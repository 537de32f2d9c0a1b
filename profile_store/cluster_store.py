"""The profile store in a Redis Cluster: the same promises, with the keys of a slice spread over many primaries."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import AuthenticationError

from profile_store import encoding as values
from profile_store.cluster_client import Call, ClusterLink
from profile_store.keys import AHEAD, Keys
from profile_store.port import Document, Kind, Label, Place, Standing, Writes
from profile_store.redis_base import CALL_TIMEOUT_S, SCAN_COUNT, RedisBase, Script
from profile_store.encoding import PackedWrites
from runtime.clock import Clock
from runtime.errors import Misconfigured, StateLost, Transient
from runtime.settings import Settings

_PLACE: Final = Script.named("place")
_FENCED: Final = Script.named("fenced")
_TIES: Final = Script.named("ties")
FENCE_BYTES: Final = 14
"""A fence and the space after it."""
FORMAT: Final = 1


class Ahead(msgspec.Struct, frozen=True, array_like=True):
    """The body of a write-ahead entry. `format` comes first, so that another one is seen before anything else is read."""

    format: int
    position: int
    writes: PackedWrites


_BODY: Final = msgspec.msgpack.Encoder()
_AHEAD: Final = msgspec.msgpack.Decoder(Ahead)


class ClusterStore(RedisBase):
    """A ProfileStore over a Redis Cluster.

    `save` takes three steps. First all writes go into the place's write-ahead entry, in the slot of the position, if that is the
    expected one: from here on the slice is saved. Then every key is written where it lives. Last, in the place's slot, the
    position and the timers move and the entry goes. Whoever meets an entry that is not finished finishes it before anything
    else, so a crash between the steps leaves all of a slice or nothing.

    Every entry has a fence, a number that grows, kept with each value that it writes. So a worker that was cut off half way and
    comes back late overwrites nothing newer, and finishing an entry twice is finishing it once.
    """

    def __init__(self, settings: Settings, clock: Clock, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        super().__init__(Keys(settings.environment, tagged=True), clock, call_timeout_s)
        try:
            self._link = ClusterLink(settings.redis_url.get_secret_value())
        except (ValueError, TypeError):
            raise Misconfigured(
                "ONEFOLD_REDIS_URL is not an address of a Redis Cluster: use redis+cluster://host:port,host:port or rediss+cluster://"
            ) from None
        self._seen: dict[str, bytes | None] = {}
        self._fences: dict[str, bytes | None] = {}

    async def standing(self, place: Place) -> Standing:
        standing: Standing
        standing, _ = await self._bounded("standing", lambda: self._stood(place, []))
        return standing

    async def load(
        self, place: Place, kind: Kind, ids: Sequence[str], labels: Sequence[str] = ()
    ) -> tuple[Standing, dict[str, Document], dict[str, Label]]:
        keys = [*self._keys.many(kind, ids), *self._keys.many("label", labels)]
        standing, found = await self._bounded("load", lambda: self._stood(place, keys))
        documents = {name: values.unpack_document(value) for name, value in zip(ids, found, strict=False)}
        rest = found[len(ids) :]
        return standing, documents, {n: values.unpack_label(n, value) for n, value in zip(labels, rest, strict=True)}

    async def _stood(self, place: Place, keys: Sequence[str]) -> tuple[Standing, list[bytes | None]]:
        """The place's standing, and values that are not older than it.

        Values come from other primaries than the position, in the same moment. They could be older than a position that moved
        in that very moment; so they are read again, unless the position is one that was seen before they were asked for. So is
        the hold, which may be older than the fence.
        """
        calls = _gets([self._keys.of(AHEAD, place.name), *self._of_standing(place), *keys])
        while True:
            seen, known = self._seen.get(place.name, b"never"), self._fences.get(place.name, b"never")
            entry, stored, held, fence, definitions, *found = await self._link.run(calls)
            if entry is not None:
                await self._finish(place, entry)
                continue
            if fence == known and (not keys or stored == seen):
                return self._standing(_position(stored), held, fence, _position(definitions)), _bare(found)
            self._seen[place.name], self._fences[place.name] = stored, fence

    async def save(
        self, place: Place, expected: int | None, position: int, writes: Writes, fence: int | None = None
    ) -> frozenset[tuple[Kind, str]]:
        ahead = Ahead(FORMAT, position, values.pack_writes(writes))
        seen = ("" if expected is None else expected, "" if fence is None else fence)
        refused = await self._bounded("save", lambda: self._saved(place, *seen, ahead))
        return frozenset(refused)

    async def shut_out(self, place: Place) -> Standing:
        await self._command("INCR", self._keys.of("fence", place.name))
        return await self.standing(place)

    async def _saved(self, place: Place, expected: int | str, fence: int | str, ahead: Ahead) -> list[tuple[Kind, str]]:
        writes = ahead.writes
        if not (writes.documents or writes.plain or writes.fields):
            what: tuple[Any, ...] = ("move", expected, ahead.position, fence, *_timers(writes))
        else:
            what = ("begin", expected, _BODY.encode(ahead), fence)
        done, *answer = await self._at(place, *what)
        if done == 2:
            await self._finish(place, answer[0])
        if done != 1:
            raise StateLost(f"{place.name}: the stored position is another than the one this worker has seen, or it was shut out")
        if what[0] == "move":
            self._seen[place.name] = b"%d %s" % (ahead.position, answer[0])
            return []
        return await self._do(place, answer[0], ahead)

    async def _finish(self, place: Place, entry: bytes) -> None:
        """Do what an unfinished entry says."""
        body = entry[FENCE_BYTES:]
        try:
            ahead = _AHEAD.decode(body)
        except msgspec.DecodeError as error:
            raise Transient(f"{place.name}: a write-ahead entry of another version of Onefold; it ends with that worker") from error
        await self._do(place, entry[: FENCE_BYTES - 1], ahead)

    async def _do(self, place: Place, fence: bytes, ahead: Ahead) -> list[tuple[Kind, str]]:
        """Write all of an entry, then finish it; returns the refused documents."""
        writes = ahead.writes
        answers = await self._link.run(self._fenced(fence, writes))
        done, *_ = await self._at(place, "finish", fence, ahead.position, "", *_timers(writes))
        if done == 1:
            self._seen[place.name] = b"%d %s" % (ahead.position, fence)
        documents = zip(writes.documents, answers, strict=False)
        return [(kind, name) for (kind, name, _), answer in documents if answer == 0]

    def _fenced(self, fence: bytes, writes: PackedWrites) -> list[Call]:
        """A call for every key of an entry, documents first."""
        of = self._keys.of
        calls = [Call.script(_FENCED, [of(kind, name)], fence, "document", value) for kind, name, value in writes.documents]
        calls += [Call.script(_FENCED, [of(kind, name)], fence, "plain", value) for kind, name, value in writes.plain]
        hashes: dict[str, list[str | bytes]] = {}
        for node, field, value in writes.fields:
            hashes.setdefault(node, []).extend((field, value))
        calls += [Call.script(_FENCED, [of("edges", node)], fence, "fields", *flat) for node, flat in hashes.items()]
        return calls

    async def _at(self, place: Place, *arguments: Any) -> list[Any]:
        keys = [self._keys.of(kind, place.name) for kind in ("position", AHEAD, "timer", "fence")]
        (answer,) = await self._link.run([Call.script(_PLACE, keys, *arguments)])
        return list(answer)

    async def ping(self) -> None:
        async def every() -> None:
            primaries = await self._link.primaries()
            await asyncio.gather(*(self._link.on(node, "PING") for node in primaries))
            await self._link.run(_gets([self._keys.hold]))  # a primary that answers may still know of slots without one

        await self._bounded("PING", every)

    async def aclose(self) -> None:
        await self._link.aclose()

    async def _execute(self, *parts: Any) -> Any:
        (answer,) = await self._link.run([Call(parts[1], parts[0], parts[1:])])
        return answer

    async def _values(self, keys: Sequence[str]) -> list[bytes | None]:
        return _bare(await self._link.run(_gets(keys)))

    async def _flat_hashes(self, keys: Sequence[str], most: int) -> list[list[bytes] | None]:
        found = await self._link.run([Call.script(_TIES, [key], most) for key in keys])
        for (flat,) in found:
            if flat is not None:
                flat[1::2] = [value[FENCE_BYTES:] for value in flat[1::2]]
        return [flat for (flat,) in found]

    async def _unlink(self, keys: Sequence[str]) -> None:
        await self._link.run([Call(key, "UNLINK", (key,)) for key in keys])

    async def _wipe(self, kind: str) -> None:
        if kind == "position":
            await super()._wipe(AHEAD)
        await super()._wipe(kind)

    async def _pages(self, pattern: str) -> AsyncGenerator[list[bytes], None]:
        for node in await self._bounded("SCAN", self._link.primaries):
            cursor: int | bytes = 0
            while True:
                parts = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
                cursor, page = await self._bounded("SCAN", lambda node=node, parts=parts: self._link.on(node, *parts))  # type: ignore[misc]  # mypy does not infer a lambda's default
                yield page
                if int(cursor) == 0:
                    break

    def _cure(self, error: BaseException) -> str | None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, AuthenticationError):
                return super()._cure(cause)
            if "Cluster mode is not enabled" in str(cause):
                return "ONEFOLD_REDIS_URL names a cluster, but its server is none: write its address as redis://host:port/0"
            cause = cause.__cause__
        return None


def _gets(keys: Sequence[str]) -> list[Call]:
    return [Call(key, "GET", (key,)) for key in keys]


def _position(stored: bytes | None) -> int | None:
    return None if stored is None else int(stored.split()[0])


def _bare(found: Sequence[bytes | None]) -> list[bytes | None]:
    """Values without their fences."""
    return [None if value is None else value[FENCE_BYTES:] for value in found]


def _timers(writes: PackedWrites) -> list[str | int]:
    flat: list[str | int] = []
    for profile_id, due_ms in writes.timers:
        flat += (profile_id, "" if due_ms is None else due_ms)
    return flat
