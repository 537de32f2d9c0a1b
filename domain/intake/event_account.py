"""The account of accepted events: where each of them has ended. Pure.

Every accepted event ends as stored, duplicate, suppressed or quarantined, or it is in flight. Each side of that equation is
counted in another store, so an event that was lost or counted twice anywhere makes the account unbalanced.

Example: Kafka has 100 events, of which ClickHouse has consumed 96. The table of events has 90 rows. The ledger has 94 rows as
stored of 90 distinct messages, so 4 were duplicates, and 2 rows as quarantined. Both of their records are in the quarantine
table, beside 7 of calls that the collector refused. So 107 were accepted: 90 stored, 4 duplicates, 9 quarantined and 4 in
flight.

Nothing writes the outcome `suppressed` yet: it is reserved for events of customers who are not to be stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountInputs:
    """The counts of each store, before anything is added up.

    `end_offsets` and `positions` are next offsets of `events` by partition, in Kafka and in ClickHouse. `unread_records`
    counts the records of `touchpoints` and `quarantine` that have not been consumed yet; each counts as one event until it
    is. The `ledger_` counts are rows of the ledger by outcome, and `ledger_messages` are its distinct messages. Records in
    quarantine are counted by where they came from: from `events`, or from elsewhere. `replayed_from_events` are those of the
    former that were sent again as they were.

    Partitions begin at `first_offset`, which is not 0 when Kafka's log was replaced. What came before it counts as accepted when
    the ledger has it: `ledger_earlier` are these rows. Nobody knows what else the lost log had.
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
    first_offset: int = 0
    ledger_earlier: int = 0


@dataclass(frozen=True, slots=True)
class EventAccount:
    """The account at one instant; when no event has come for a moment, nothing is in flight."""

    accepted: int
    stored: int
    duplicate: int
    suppressed: int
    quarantined: int
    in_flight: int
    balanced: bool


def add_up(inputs: AccountInputs) -> EventAccount:
    """Add the counts up: accepted = stored + duplicate + suppressed + quarantined + in flight, if nothing was lost or made up."""
    first_offset = inputs.first_offset
    unconsumed = sum(
        max(end - max(inputs.positions.get(partition, 0), first_offset), 0) for partition, end in inputs.end_offsets.items()
    )
    appended = inputs.ledger_earlier + sum(end - first_offset for end in inputs.end_offsets.values())
    # The ledger has the outcome before the quarantine record itself has gone through Kafka and arrived: in flight for as long.
    unarrived = max(inputs.ledger_quarantined - inputs.quarantined_from_events, 0)
    # A replayed record came in once and counts once: as the event that it became, and not as quarantined any more.
    accepted = appended + inputs.quarantined_elsewhere + inputs.unread_records - inputs.replayed_from_events
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
