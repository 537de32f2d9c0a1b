"""Slices that failed by a bug, remembered across restarts in a small file."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from runtime.bus.port import Record

log: Final = logging.getLogger(__name__)


class FailedSlice(msgspec.Struct, frozen=True):
    """Consecutive records of one partition: `count` is of offsets, from `first`."""

    topic: str
    partition: int
    first: int
    count: int

    def meets(self, records: Sequence[Record]) -> bool:
        """Whether any of these records (of one partition) lies in it."""
        return (
            self.topic == records[0].topic
            and self.partition == records[0].partition
            and self.first <= records[-1].offset
            and records[0].offset < self.first + self.count
        )


class Failures:
    """The failed slices of a role. Read when a slice fails, so that the workers of one data directory know of each other's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._any = path.exists()

    def has(self, records: Sequence[Record]) -> bool:
        """Whether a slice with one of these records has failed before."""
        return any(failed.meets(records) for failed in self._read())

    def add(self, records: Sequence[Record]) -> None:
        """Remember that these records failed together. They are durable when this returns."""
        first = records[0]
        failed = FailedSlice(first.topic, first.partition, first.offset, records[-1].offset - first.offset + 1)
        self._write([*self._read(), failed])
        self._any = True

    def passed(self, records: Sequence[Record]) -> None:
        """Forget the failed slices that end within or before these records, which have now been dealt with."""
        if not self._any:
            return
        last = records[-1]
        kept = [
            failed
            for failed in self._read()
            if (failed.topic, failed.partition) != (last.topic, last.partition) or failed.first + failed.count > last.offset + 1
        ]
        self._write(kept)
        self._any = bool(kept)

    def _read(self) -> list[FailedSlice]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[FailedSlice])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError:  # torn by a full disk: the slice fails and is noted once more
            log.warning("the file of failed slices cannot be read and starts anew", extra={"path": str(self._path)})
            return []

    def _write(self, slices: list[FailedSlice]) -> None:
        if not slices:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps([msgspec.to_builtins(failed) for failed in slices]))
        fresh.replace(self._path)
