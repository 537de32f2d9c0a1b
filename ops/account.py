"""Law 1, added up: accepted = stored + duplicate + suppressed + quarantined + in flight.

Each side comes from another place: accepted from Kafka's offsets, stored from the events table, duplicates from the ledger's
rows less its distinct messages, quarantined from the quarantine table. All tables are read up to the positions that the
consumer had noted before, so a batch that is being inserted is in flight as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from warehouse import named_queries as reads
from warehouse.client import Warehouse
from runtime.bus.port import Bus
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Sides:
    """What each place says, before anything is added up.

    `ends` and `positions` are next offsets of `events` by partition, in Kafka and in ClickHouse. `waiting` counts records of
    `touchpoints` and `quarantine` that have not been read yet; each stands for one event until it is.
    """

    ends: Mapping[int, int]
    positions: Mapping[int, int]
    waiting: int
    stored: int
    booked_stored: int
    messages: int
    booked_suppressed: int
    booked_quarantined: int
    quarantined_of_events: int
    quarantined_elsewhere: int
    replayed_of_events: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """The account at one moment. At a quiet one nothing is in flight."""

    accepted: int
    stored: int
    duplicate: int
    suppressed: int
    quarantined: int
    in_flight: int
    balanced: bool


def add_up(sides: Sides) -> Account:
    """Pure. A record booked as quarantined whose quarantine record has not arrived is in flight.

    A replayed record is accepted and stored as the event that it became, and counts as quarantined no more.
    """
    ahead = sum(max(end - sides.positions.get(partition, 0), 0) for partition, end in sides.ends.items())
    unarrived = max(sides.booked_quarantined - sides.quarantined_of_events, 0)
    accepted = sum(sides.ends.values()) + sides.quarantined_elsewhere + sides.waiting - sides.replayed_of_events
    duplicate = sides.booked_stored - sides.messages
    quarantined = sides.quarantined_elsewhere + sides.quarantined_of_events - sides.replayed_of_events
    in_flight = ahead + unarrived + sides.waiting
    return Account(
        accepted=accepted,
        stored=sides.stored,
        duplicate=duplicate,
        suppressed=sides.booked_suppressed,
        quarantined=quarantined,
        in_flight=in_flight,
        balanced=accepted == sides.stored + duplicate + sides.booked_suppressed + quarantined + in_flight,
    )


async def take(settings: Settings, bus: Bus, warehouse: Warehouse) -> Account:
    """The account now. Raises Transient when Kafka or ClickHouse does not answer, Misconfigured when nothing was prepared."""
    events, quarantine, touchpoints = (settings.topic(name) for name in ("events", "quarantine", "touchpoints"))
    positions = dict(await reads.ask(warehouse, "positions", topic=events))
    unread = dict(await reads.ask(warehouse, "positions", topic=quarantine))
    accepted_to = await bus.committed(settings.group("accept"), touchpoints)
    places = {"partitions": list(positions) or [0], "positions": list(positions.values()) or [0]}
    booked = (await reads.ask(warehouse, "account", **places))[0]
    of_events, replayed, elsewhere = (await reads.ask(warehouse, "quarantined", topic=events, **places))[0]
    waiting = _behind(unread, await bus.end_offsets(quarantine), {})
    waiting += _behind(accepted_to, await bus.end_offsets(touchpoints), await bus.start_offsets(touchpoints))
    return add_up(
        Sides(
            ends=await bus.end_offsets(events),
            positions=positions,
            waiting=waiting,
            stored=booked[0],
            booked_stored=booked[1],
            messages=booked[2],
            booked_suppressed=booked[3],
            booked_quarantined=booked[4],
            quarantined_of_events=of_events,
            quarantined_elsewhere=elsewhere,
            replayed_of_events=replayed,
        )
    )


def _behind(read: Mapping[int, int], ends: Mapping[int, int], starts: Mapping[int, int]) -> int:
    return sum(max(end - max(read.get(partition, 0), starts.get(partition, 0)), 0) for partition, end in ends.items())
