"""The values of one computed trait, in the stream and by SQL over history, and how they differ.

Memory holds a digest of each value of one trait, about 200 bytes for each profile; SQL's values are streamed past them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from domain.profiles.membership import decode_membership
from domain.segments.plan import SegmentPlan
from domain.segments.sql.query import SqlQuery
from profile_store.port import ProfileStore
from runtime.chunks import chunked
from schemas.hashes import text_hash
from warehouse.client import Warehouse

_ENCODER = msgspec.json.Encoder(order="deterministic")


def value_digest(value: Any) -> int:
    """Return a number that equal JSON values share. 1 is 1.0, but it is neither true nor "1"."""
    return int(text_hash(_ENCODER.encode(_with_float_numbers(value)).decode()), 16)


def _with_float_numbers(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        return value
    if isinstance(value, list):
        return [_with_float_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_float_numbers(item) for key, item in value.items()}
    return float(value)


def stored_digest(data: bytes | None, trait: str) -> int | None:
    """Return the digest of a trait in a membership document; None without a value, and for a profile that was merged."""
    document = decode_membership(data)
    return None if document.dissolved_into or trait not in document.computed else value_digest(document.computed[trait])


@dataclass(frozen=True, slots=True)
class TraitValues:
    """Reads both sides of one plan's computed traits. `values_query` compiles a trait at an instant to SQL."""

    store: ProfileStore
    warehouse: Callable[[], Awaitable[Warehouse]]
    plan: SegmentPlan
    values_query: Callable[[SegmentPlan, str, int], SqlQuery]
    chunk: int

    async def compare_all(self, trait: str, at_ms: int) -> tuple[int, frozenset[str]]:
        """Return how many profiles have the same value on both sides at an instant, and which differ."""
        stream: dict[bytes, int] = {}
        async for profile_id, data in self.store.scan("membership"):
            digest = stored_digest(data, trait)
            if digest is not None:
                stream[bytes.fromhex(profile_id)] = digest
        equal, differing = 0, set[str]()
        query = self.values_query(self.plan, trait, at_ms)
        async for profile_id, digest in self._stream_sql(query):
            if stream.pop(bytes.fromhex(profile_id), None) == digest:
                equal += 1
            else:
                differing.add(profile_id)
        return equal, frozenset(differing.union(profile_bytes.hex() for profile_bytes in stream))

    async def compare_again(self, trait: str, profile_ids: Collection[str], at_ms: int) -> tuple[int, frozenset[str]]:
        """Return the same for these profiles alone. A profile without a value on either side is in neither number."""
        stream: dict[str, int] = {}
        for part in chunked(sorted(profile_ids), self.chunk):
            for profile_id, document in (await self.store.documents("membership", part)).items():
                digest = stored_digest(document.data, trait)
                if digest is not None:
                    stream[profile_id] = digest
        sql = await self.sql_digests(trait, profile_ids, at_ms)
        differing = {profile_id for profile_id in profile_ids if stream.get(profile_id) != sql.get(profile_id)}
        return len(stream.keys() & sql.keys() - differing), frozenset(differing)

    async def sql_digests(self, trait: str, profile_ids: Collection[str], at_ms: int) -> Mapping[str, int]:
        """Return the digests of the values by SQL, of those of these profiles that have one."""
        query = self.values_query(self.plan, trait, at_ms)
        # So many ids would make the statement too long: all values are streamed and filtered here.
        if len(profile_ids) > self.chunk:
            return {profile_id: digest async for profile_id, digest in self._stream_sql(query) if profile_id in profile_ids}
        narrowed = f"SELECT profile_id, value FROM ({query.sql}) WHERE profile_id IN {{compared_profiles:Array(String)}}"  # noqa: S608 - our own SQL
        warehouse = await self.warehouse()
        rows = await warehouse.query(narrowed, {**query.parameters, "compared_profiles": sorted(profile_ids)})
        return {profile_id: value_digest(msgspec.json.decode(value)) for profile_id, value in rows}

    async def _stream_sql(self, query: SqlQuery) -> AsyncIterator[tuple[str, int]]:
        warehouse = await self.warehouse()
        async for block in warehouse.stream_query(query.sql, query.parameters):
            for profile_id, value in block:
                yield profile_id, value_digest(msgspec.json.decode(value))
