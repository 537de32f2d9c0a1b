"""Preparing what every process needs: topics, tables, and the sources `default` and `server`. Preparing again changes nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from domain.definitions.kinds import Metadata, Source, SourceSpec, key_hash
from domain.intake.trust import SERVER_SOURCE
from embedded import secrets
from embedded.layout import Layout
from ops import definitions_topic
from ops.adopted_logs import record_log, require_adopted
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.secret_files import read_secret_files
from runtime.settings import Settings
from runtime.variables import WRITE_KEYS
from schemas.topics import TOPICS
from warehouse.adopted_logs import AdoptedLogTable
from warehouse.client import Warehouse
from warehouse.migrate import migrate

DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The migrations that were applied, and the sources that were written."""

    migrations: tuple[str, ...]
    sources_written: tuple[str, ...]


async def prepare(settings: Settings) -> PrepareResult:
    """Apply migrations, create topics, let the stores know the Kafka log, and declare the sources, in this order.

    Raises AnotherLog, before anything was written to it, when the stores belong to another Kafka log; Transient while a store is
    away.
    """
    applied_migrations = await migrate(settings)
    store, warehouse = open_store(settings, SystemClock()), await Warehouse.connect(settings)
    try:
        async with KafkaBus(settings) as bus:
            records = (AdoptedLogTable(warehouse), store)
            await require_adopted(settings, bus, records)
            await create_topics(settings, bus)
            await record_log(settings, bus, records)
            sources_written = await declare_sources(settings, bus, write_keys(settings))
    finally:
        await warehouse.aclose()
        await store.aclose()
    return PrepareResult(tuple(applied_migrations), sources_written)


async def create_topics(settings: Settings, bus: Bus) -> None:
    """Create every topic of the register that does not exist yet, and correct the settings that records depend on in the others."""
    await bus.create_topics(
        {
            settings.topic(topic.name): (1 if topic.is_single_partition else settings.partitions, dict(topic.config))
            for topic in TOPICS
        }
    )


def write_keys(settings: Settings) -> dict[str, str]:
    """Return the write keys of `default` and `server`: the embedded stack's own, else those of the environment, as far as given."""
    if settings.mode == "embedded":
        own = secrets.load_or_create(Layout.of(settings.data_dir))
        return {DEFAULT_SOURCE: own.write_key, SERVER_SOURCE: own.server_write_key}
    variables = os.environ | read_secret_files(WRITE_KEYS, os.environ)
    return {
        source: key
        for source, name in zip((DEFAULT_SOURCE, SERVER_SOURCE), WRITE_KEYS, strict=True)
        if (key := variables.get(name))
    }


async def declare_sources(settings: Settings, bus: Bus, keys: Mapping[str, str]) -> tuple[str, ...]:
    """Add these write keys to the sources of their names; return the names of those that had to be written.

    A source's other keys and settings stay, because an operator may be rotating keys. A new `server` is trusted, and records on
    `touchpoints` may name it; a new `default` is public.
    """
    live = (await definitions_topic.read_topic(settings, bus)).live
    written = []
    for name, key in keys.items():
        current = live.get(f"Source/{name}")
        if isinstance(current, Source):
            source = current
        else:
            is_server = name == SERVER_SOURCE
            spec = SourceSpec(trust="trusted" if is_server else "public", topic_ingress=is_server)
            source = Source(apiVersion="onefold/v1", kind="Source", metadata=Metadata(name=name), spec=spec)
        hashes = source.spec.write_key_sha256
        if key_hash(key) not in hashes:
            spec = source.spec.model_copy(update={"write_key_sha256": (*hashes, key_hash(key))})
            written.append(source.model_copy(update={"spec": spec}))
    if written:
        await definitions_topic.write(settings, bus, written)
    return tuple(source.metadata.name for source in written)
