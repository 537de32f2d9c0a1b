"""The Kafka logs that ClickHouse's offsets have belonged to, one row for each epoch; the newest is the one that counts."""

from runtime.bus.epochs import AdoptedLog, LogIdentity
from warehouse import named_queries
from warehouse.client import Warehouse
from warehouse.tables import ADOPTED_LOGS


class AdoptedLogTable:
    """Reads and writes the table."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def adopted_log(self) -> AdoptedLog | None:
        """Return the log that the offsets stand for; None when that was never stored. Raises Transient."""
        rows = await named_queries.fetch_rows(self._warehouse, "adopted_log")
        for epoch, cluster_id, topic_ids, secret_fingerprint in rows:
            return AdoptedLog(epoch, LogIdentity(cluster_id, dict(topic_ids)), secret_fingerprint)
        return None

    async def adopt_log(self, adopted: AdoptedLog) -> None:
        """Store a log; the one with the largest epoch counts. Raises Transient."""
        identity = adopted.identity
        await self._warehouse.insert(
            ADOPTED_LOGS, [(adopted.epoch, identity.cluster_id, dict(identity.topic_ids), adopted.secret_fingerprint)]
        )
