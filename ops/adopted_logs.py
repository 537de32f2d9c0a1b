"""Which Kafka log Redis and ClickHouse belong to: recording it when the stores are prepared, and comparing it with Kafka's."""

from collections.abc import Sequence
from typing import Protocol

from runtime.bus.epochs import AdoptedLog, LogIdentity
from runtime.bus.log_guard import describe_difference, require_same_secret
from runtime.bus.port import Bus
from runtime.errors import AnotherLog
from runtime.settings import Settings
from schemas.topics import TOPICS


class LogRecord(Protocol):
    """Where a store remembers its log: the profile store itself, and a table of ClickHouse."""

    async def adopted_log(self) -> AdoptedLog | None:
        """Return the log; None when that was never stored. Raises Transient."""
        ...

    async def adopt_log(self, adopted: AdoptedLog) -> None:
        """Remember the log. Raises Transient."""
        ...


async def newest_log(records: Sequence[LogRecord]) -> AdoptedLog | None:
    """Return the log of the largest epoch among the records. A store that was emptied has none."""
    logs = [log for record in records if (log := await record.adopted_log()) is not None]
    return max(logs, key=lambda log: log.epoch, default=None)


async def read_identity(settings: Settings, bus: Bus) -> LogIdentity:
    """Return the identity of Kafka's log, with the ids of all topics of the register that exist. Raises Transient."""
    return await bus.log_identity([settings.topic(topic.name) for topic in TOPICS])


async def require_adopted(settings: Settings, bus: Bus, records: Sequence[LogRecord]) -> None:
    """Raise AnotherLog when the stores belong to another log than Kafka's, Misconfigured when another tenant secret filled them.

    Stores that belong to no log yet are content.
    """
    newest = await newest_log(records)
    if newest is not None:
        require_same_secret(newest, settings.secret_fingerprint)
    if newest is not None and (difference := newest.identity.difference(await read_identity(settings, bus))):
        raise AnotherLog(describe_difference(difference))


async def record_log(settings: Settings, bus: Bus, records: Sequence[LogRecord]) -> AdoptedLog:
    """Let every store know Kafka's log, with all topics that exist by now, and return it.

    Raises AnotherLog when the stores belong to another one, Misconfigured when another tenant secret filled them.
    """
    await require_adopted(settings, bus, records)
    newest = await newest_log(records)
    epoch = 0 if newest is None else newest.epoch
    adopted = AdoptedLog(epoch, await read_identity(settings, bus), settings.secret_fingerprint)
    await remember(records, adopted)
    return adopted


async def remember(records: Sequence[LogRecord], adopted: AdoptedLog) -> None:
    """Let every store know the log, in this order."""
    for record in records:
        if await record.adopted_log() != adopted:
            await record.adopt_log(adopted)
