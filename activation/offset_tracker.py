"""What may be committed when records end in another order than they came. Pure.

An offset may be committed when its record and all earlier ones have ended: a commit says "everything before this is done".

Example: the offsets 4, 5 and 6 begin; 6 and 4 end. 5 may be committed as the next offset to read. When 5 ends, 7 may be.
"""

from runtime.bus.port import Partition


class OffsetTracker:
    """Tracks the records under way of each partition."""

    def __init__(self) -> None:
        self._in_flight: dict[Partition, dict[int, bool]] = {}
        self._completed: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self.in_flight_count = 0
        """How many records have begun and not ended."""

    def begin(self, partition: Partition, offset: int) -> bool:
        """Note that a record begins; return false when it is under way already (it was read again after a rebalance)."""
        offsets = self._in_flight.setdefault(partition, {})
        if offset in offsets:
            return False
        offsets[offset] = False
        self.in_flight_count += 1
        return True

    def end(self, partition: Partition, offset: int) -> None:
        """Note that a record has ended: its effect is durable."""
        offsets = self._in_flight[partition]
        # A later record may have ended first: it stays until all earlier ones have ended, and then goes with them.
        offsets[offset] = True
        self.in_flight_count -= 1
        while offsets and offsets[first_offset := next(iter(offsets))]:  # records begin in the order of their offsets
            del offsets[first_offset]
            self._completed[partition] = max(self._completed.get(partition, 0), first_offset + 1)

    def committable(self) -> dict[Partition, int]:
        """Return the next offset to read of each partition that has come further than its last commit."""
        return {partition: offset for partition, offset in self._completed.items() if self._committed.get(partition, -1) < offset}

    def mark_committed(self, offsets: dict[Partition, int]) -> None:
        """Note that these offsets were committed."""
        self._committed.update(offsets)
