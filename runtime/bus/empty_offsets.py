"""Offsets at which no record lies, at the end of what a consumer has read.

A log has such offsets where a transaction ends (its marker is no record), where a transaction was aborted, and where compaction
took records away. A consumer that commits the offset behind its last record never commits them, so its group would seem to be
behind for ever. Therefore each poll notes the offsets that it passed over without a record, and a commit passes over them too.

Example: a transaction writes the records 0 and 1, and its marker has offset 2. The poll that returns the records moves the position
to 3, so offset 2 is empty. The caller commits 2, behind its last record, and 3 is what is committed.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class EmptyOffsets(Generic[P]):
    """The last range of empty offsets of each partition. To pass over a range never skips a record, whoever has read what."""

    def __init__(self) -> None:
        self._ranges: dict[P, tuple[int, int]] = {}

    def note(self, partition: P, start: int, end: int) -> None:
        """Note that no record lies at the offsets from `start` to `end`, without `end` itself."""
        if start >= end:
            return
        previous_start, previous_end = self._ranges.get(partition, (start, start))
        self._ranges[partition] = (previous_start if previous_start <= start <= previous_end else start, end)

    def skip(self, partition: P, offset: int) -> int:
        """Return the first offset from `offset` on that is not known to be empty."""
        start, end = self._ranges.get(partition, (offset, offset))
        return end if start <= offset < end else offset

    def clear(self) -> None:
        """Forget all ranges."""
        self._ranges.clear()


def passed_over(position_before: int | None, position_after: int | None, last_offset: int | None) -> tuple[int, int]:
    """Return the range of offsets, perhaps empty, that a poll passed over behind the last record that it returned of a partition.

    `last_offset` is None when the poll returned none. A position is None when it is not known yet.
    """
    start = position_before if last_offset is None else last_offset + 1
    if start is None or position_after is None:
        return 0, 0
    return start, position_after
