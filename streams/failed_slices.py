"""Failed slices: those that failed by a bug, remembered across restarts in a small file.

A bug ends the process, so the memory of "this failed before" must outlive it. Without it a poison record would end the process for
ever; with it the second failure applies the slice's records one by one and quarantines the one that fails.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from runtime.bus.port import Record
from runtime.logs import get_logger

log: Final = get_logger(__name__)


class FailedSlice(msgspec.Struct, frozen=True):
    """Consecutive records of one partition: the `count` offsets from `first`."""

    topic: str
    partition: int
    first: int
    count: int

    def overlaps(self, records: Sequence[Record]) -> bool:
        """Tell whether any of these records, which are of one partition, lies in it."""
        return (
            self.topic == records[0].topic
            and self.partition == records[0].partition
            and self.first <= records[-1].offset
            and records[0].offset < self.first + self.count
        )


class FailedSlices:
    """The failed slices of one agent. The file is read at each failure: workers that share a data directory share it, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_entries = path.exists()

    def has(self, records: Sequence[Record]) -> bool:
        """Tell whether a slice with one of these records has failed before. It may have had other bounds then."""
        return any(failed.overlaps(records) for failed in self._read())

    def add(self, records: Sequence[Record]) -> None:
        """Note that these records failed together. The note is in the file when this returns."""
        first_record = records[0]
        failed = FailedSlice(
            first_record.topic, first_record.partition, first_record.offset, records[-1].offset - first_record.offset + 1
        )
        self._write([*self._read(), failed])
        self._has_entries = True

    def forget(self, records: Sequence[Record]) -> None:
        """Remove the notes of slices that end within or before these records, which are applied now."""
        if not self._has_entries:
            return
        last_record = records[-1]
        remaining = [
            failed
            for failed in self._read()
            if (failed.topic, failed.partition) != (last_record.topic, last_record.partition)
            or failed.first + failed.count > last_record.offset + 1
        ]
        self._write(remaining)
        self._has_entries = bool(remaining)

    def _read(self) -> list[FailedSlice]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[FailedSlice])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError:  # torn by a full disk: the slice fails and is noted once more
            log.warning("failed_slices_unreadable", path=str(self._path))
            return []

    def _write(self, slices: list[FailedSlice]) -> None:
        if not slices:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary_path = self._path.with_suffix(".new")
        temporary_path.write_text(json.dumps([msgspec.to_builtins(failed) for failed in slices]))
        temporary_path.replace(self._path)
