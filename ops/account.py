"""The account of accepted events, read from Kafka and ClickHouse: the law Accounted, measured.

Each side comes from another place: accepted from Kafka's offsets, stored from the events table, duplicates from the ledger's
rows less its distinct messages, quarantined from the quarantine table. The consumers' positions are read first, and all
tables only up to them. So a batch that is being inserted at that moment counts as in flight as a whole, and never as half
stored.
"""

from collections.abc import Mapping

from domain.intake.event_account import AccountInputs, EventAccount, add_up
from runtime.bus.port import Bus
from runtime.settings import Settings
from warehouse import named_queries
from warehouse.client import Warehouse


async def measure(settings: Settings, bus: Bus, warehouse: Warehouse) -> EventAccount:
    """Measure the account now.

    Raises Transient when Kafka or ClickHouse does not answer, Misconfigured when topics or tables have not been prepared.
    """
    events, quarantine, touchpoints = (settings.topic(name) for name in ("events", "quarantine", "touchpoints"))
    positions = dict(await named_queries.fetch_rows(warehouse, "positions", topic=events))
    quarantine_positions = dict(await named_queries.fetch_rows(warehouse, "positions", topic=quarantine))
    accepted_offsets = await bus.committed(settings.group("accept"), touchpoints)
    events_positions = {"partitions": list(positions) or [0], "positions": list(positions.values()) or [0]}
    ledger_counts = (await named_queries.fetch_rows(warehouse, "account", **events_positions, first_offset=bus.first_offset))[0]
    quarantined_from_events, replayed, quarantined_elsewhere = (
        await named_queries.fetch_rows(warehouse, "quarantined", topic=events, **events_positions)
    )[0]
    quarantine_ends = await bus.end_offsets(quarantine)
    unread_records = _lag(quarantine_positions, quarantine_ends, dict.fromkeys(quarantine_ends, bus.first_offset))
    unread_records += _lag(accepted_offsets, await bus.end_offsets(touchpoints), await bus.start_offsets(touchpoints))
    # Kafka's ends are read last: an event that arrives meanwhile is in flight, and not stored without having been accepted.
    return add_up(
        AccountInputs(
            end_offsets=await bus.end_offsets(events),
            positions=positions,
            unread_records=unread_records,
            stored=ledger_counts[0],
            ledger_stored=ledger_counts[1],
            ledger_messages=ledger_counts[2],
            ledger_suppressed=ledger_counts[3],
            ledger_quarantined=ledger_counts[4],
            quarantined_from_events=quarantined_from_events,
            quarantined_elsewhere=quarantined_elsewhere,
            replayed_from_events=replayed,
            first_offset=bus.first_offset,
            ledger_earlier=ledger_counts[5],
        )
    )


def _lag(read_offsets: Mapping[int, int], ends: Mapping[int, int], starts: Mapping[int, int]) -> int:
    return sum(max(end - max(read_offsets.get(partition, 0), starts.get(partition, 0)), 0) for partition, end in ends.items())
