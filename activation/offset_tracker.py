"""How far a partition has come when its records end in another order than they came. Pure bookkeeping."""

from runtime.bus.port import Partition


class Progress:
    """Knows the records under way, and up to where everything has ended: that is what may be committed."""

    def __init__(self) -> None:
        self._under_way: dict[Partition, dict[int, bool]] = {}
        self._ended: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self.waiting = 0
        """How many records have begun and not ended."""

    def begin(self, partition: Partition, offset: int) -> bool:
        """Note a record; False when it is known already (read again after a rebalance) and must not be begun twice."""
        window = self._under_way.setdefault(partition, {})
        if offset in window:
            return False
        window[offset] = False
        self.waiting += 1
        return True

    def end(self, partition: Partition, offset: int) -> None:
        """Note that a record's effect is durable."""
        window = self._under_way[partition]
        window[offset] = True
        self.waiting -= 1
        while window and window[first := min(window)]:
            del window[first]
            self._ended[partition] = max(self._ended.get(partition, 0), first + 1)

    def due(self) -> dict[Partition, int]:
        """The next offsets that have not been committed yet."""
        return {place: offset for place, offset in self._ended.items() if self._committed.get(place, -1) < offset}

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note a commit."""
        self._committed.update(offsets)
