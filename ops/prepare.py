"""Preparing what every process needs: topics, tables, and the source `default`. Preparing again changes nothing."""

import os
from dataclasses import dataclass

from domain.definitions.kinds import Metadata, Source, SourceSpec, key_hash
from embedded import secrets
from embedded.layout import Layout
from ops import definitions_topic
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.settings import Settings
from schemas.topics import TOPICS
from warehouse.migrate import migrate

DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The migrations that were applied, and whether the source was written."""

    migrations: tuple[str, ...]
    source_written: bool


async def prepare(settings: Settings) -> PrepareResult:
    """Create topics, apply migrations and declare the source, in this order. Raises Transient while a store is away."""
    async with KafkaBus(settings) as bus:
        await create_topics(settings, bus)
        applied_migrations = await migrate(settings)
        source_written = await declare_source(settings, bus, write_key(settings))
    return PrepareResult(tuple(applied_migrations), source_written)


async def create_topics(settings: Settings, bus: Bus) -> None:
    """Create every topic of the register that does not exist yet."""
    await bus.create_topics(
        {
            settings.topic(topic.name): (1 if topic.is_single_partition else settings.partitions, dict(topic.config))
            for topic in TOPICS
        }
    )


def write_key(settings: Settings) -> str | None:
    """Return the write key of the source `default`: the embedded stack's own, else ONEFOLD_WRITE_KEY; None makes no source."""
    if settings.mode == "embedded":
        return secrets.load_or_create(Layout.of(settings.data_dir)).write_key
    return os.environ.get("ONEFOLD_WRITE_KEY") or None


async def declare_source(settings: Settings, bus: Bus, key: str | None) -> bool:
    """Add the write key to the source `default`; return whether a record had to be written.

    The source's other keys and settings stay, because an operator may be rotating keys.
    """
    if key is None:
        return False
    current = (await definitions_topic.read_topic(settings, bus)).live.get(f"Source/{DEFAULT_SOURCE}")
    spec = current.spec if isinstance(current, Source) else SourceSpec()
    hashes = spec.write_key_sha256
    if key_hash(key) in hashes and spec.topic_ingress:
        return False
    all_hashes = (*hashes, key_hash(key)) if key_hash(key) not in hashes else hashes
    spec = spec.model_copy(update={"write_key_sha256": all_hashes, "topic_ingress": True})
    metadata = current.metadata if isinstance(current, Source) else Metadata(name=DEFAULT_SOURCE)
    await definitions_topic.write(settings, bus, [Source(apiVersion="onefold/v1", kind="Source", metadata=metadata, spec=spec)])
    return True
