"""Law 1, added up: accepted = stored + duplicate + suppressed + quarantined + in flight.

Each side comes from another place: accepted from Kafka's offsets, stored from the events table, duplicates from the ledger's
rows less its distinct messages, quarantined from the quarantine table. All tables are read up to the positions that the
consumer had noted before, so a batch that is being inserted is in flight as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.bus.port import Bus
from runtime.settings import Settings
from warehouse import named_queries
from warehouse.client import Warehouse


@dataclass(frozen=True, slots=True)
class AccountInputs:
    """What each place says, before anything is added up.

    `end_offsets` and `positions` are next offsets of `events` by partition, in Kafka and in ClickHouse. `unread_records` counts
    records of `touchpoints` and `quarantine` that have not been read yet; each stands for one event until it is.
    """

    end_offsets: Mapping[int, int]
    positions: Mapping[int, int]
    unread_records: int
    stored: int
    ledger_stored: int
    ledger_messages: int
    ledger_suppressed: int
    ledger_quarantined: int
    quarantined_from_events: int
    quarantined_elsewhere: int
    replayed_from_events: int = 0


@dataclass(frozen=True, slots=True)
class EventAccount:
    """The account at one moment. At a quiet one nothing is in flight."""

    accepted: int
    stored: int
    duplicate: int
    suppressed: int
    quarantined: int
    in_flight: int
    balanced: bool


def add_up(inputs: AccountInputs) -> EventAccount:
    """Pure. A record booked as quarantined whose quarantine record has not arrived is in flight.

    A replayed record is accepted and stored as the event that it became, and counts as quarantined no more.
    """
    unconsumed = sum(max(end - inputs.positions.get(partition, 0), 0) for partition, end in inputs.end_offsets.items())
    unarrived = max(inputs.ledger_quarantined - inputs.quarantined_from_events, 0)
    accepted = sum(inputs.end_offsets.values()) + inputs.quarantined_elsewhere + inputs.unread_records - inputs.replayed_from_events
    duplicate = inputs.ledger_stored - inputs.ledger_messages
    quarantined = inputs.quarantined_elsewhere + inputs.quarantined_from_events - inputs.replayed_from_events
    in_flight = unconsumed + unarrived + inputs.unread_records
    return EventAccount(
        accepted=accepted,
        stored=inputs.stored,
        duplicate=duplicate,
        suppressed=inputs.ledger_suppressed,
        quarantined=quarantined,
        in_flight=in_flight,
        balanced=accepted == inputs.stored + duplicate + inputs.ledger_suppressed + quarantined + in_flight,
    )


async def measure(settings: Settings, bus: Bus, warehouse: Warehouse) -> EventAccount:
    """The account now. Raises Transient when Kafka or ClickHouse does not answer, Misconfigured when nothing was prepared."""
    events, quarantine, touchpoints = (settings.topic(name) for name in ("events", "quarantine", "touchpoints"))
    positions = dict(await named_queries.fetch_rows(warehouse, "positions", topic=events))
    quarantine_positions = dict(await named_queries.fetch_rows(warehouse, "positions", topic=quarantine))
    accepted_offsets = await bus.committed(settings.group("accept"), touchpoints)
    events_positions = {"partitions": list(positions) or [0], "positions": list(positions.values()) or [0]}
    ledger_counts = (await named_queries.fetch_rows(warehouse, "account", **events_positions))[0]
    quarantined_from_events, replayed, quarantined_elsewhere = (
        await named_queries.fetch_rows(warehouse, "quarantined", topic=events, **events_positions)
    )[0]
    unread_records = _lag(quarantine_positions, await bus.end_offsets(quarantine), {})
    unread_records += _lag(accepted_offsets, await bus.end_offsets(touchpoints), await bus.start_offsets(touchpoints))
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
        )
    )


def _lag(read_offsets: Mapping[int, int], ends: Mapping[int, int], starts: Mapping[int, int]) -> int:
    return sum(max(end - max(read_offsets.get(partition, 0), starts.get(partition, 0)), 0) for partition, end in ends.items())
