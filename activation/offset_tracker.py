"""How far a partition has come when its records end in another order than they came. Pure bookkeeping."""

from runtime.bus.port import Partition


class OffsetTracker:
    """Knows the records under way, and up to where everything has ended: that is what may be committed."""

    def __init__(self) -> None:
        self._in_flight: dict[Partition, dict[int, bool]] = {}
        self._completed: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self.in_flight_count = 0
        """How many records have begun and not ended."""

    def begin(self, partition: Partition, offset: int) -> bool:
        """Note a record; False when it is known already (read again after a rebalance) and must not be begun twice."""
        offsets = self._in_flight.setdefault(partition, {})
        if offset in offsets:
            return False
        offsets[offset] = False
        self.in_flight_count += 1
        return True

    def end(self, partition: Partition, offset: int) -> None:
        """Note that a record's effect is durable."""
        offsets = self._in_flight[partition]
        offsets[offset] = True
        self.in_flight_count -= 1
        while offsets and offsets[first_offset := min(offsets)]:
            del offsets[first_offset]
            self._completed[partition] = max(self._completed.get(partition, 0), first_offset + 1)

    def committable(self) -> dict[Partition, int]:
        """The next offsets that have not been committed yet."""
        return {partition: offset for partition, offset in self._completed.items() if self._committed.get(partition, -1) < offset}

    def mark_committed(self, offsets: dict[Partition, int]) -> None:
        """Note a commit."""
        self._committed.update(offsets)
