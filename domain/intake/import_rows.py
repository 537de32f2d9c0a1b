"""Rows of a file, CSV or JSONL, as calls. Pure but for the lines that it is given to read."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from domain.intake.import_columns import (DATES, INSTANTS, NUMBERS, ORDER, PLAIN, ImportMapping, Kind, placed, target_of)
from domain.intake.import_values import day_of, instant_of, number_of
from domain.intake.parse import Rejected
from domain.intake.values import Unparsable, flaw, loads
from schemas.reasons import Reason

_DELIMITERS: Final = (",", ";", "\t", "|")
_TYPES: Final[dict[Kind, str]] = {"customers": "identify", "events": "track"}
_SAMPLE: Final = 512


@dataclass(frozen=True, slots=True)
class Row:
    """A row that began at `line` (from 1), as it stands in the file, and the call that it is, or why it is none."""

    line: int
    raw: str
    call: dict[str, Any] | Rejected


class _Bad(Exception):
    def __init__(self, reason: Reason, detail: str, path: str) -> None:
        super().__init__(reason)
        self.rejected = Rejected(reason, detail, path)


def encoding_of(start: bytes) -> tuple[str, str]:
    """How a file that begins so is encoded, and how to go on at bytes that are not: UTF-16 by its mark or its zeros, else UTF-8.

    Bytes that are no UTF-8 become lone surrogates, by which their row is found and refused.
    """
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", "replace"
    sample = start[:_SAMPLE]
    if len(sample) >= 8 and max(sample[::2].count(0), sample[1::2].count(0)) * 4 > len(sample):
        return ("utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"), "replace"
    return "utf-8-sig", "surrogateescape"


def rows(kind: Kind, lines: Iterator[str], mapping: ImportMapping) -> Iterator[Row]:
    """The rows of a file, in order; empty ones are left out. A first letter `{` makes it JSONL, anything else CSV with a header.

    Equal content makes the equal message id, counted up when the file holds it more than once: reading the file again, or a longer
    one, makes the same calls.
    """
    recorded = _Recorded(lines)
    first = next((line for line in recorded if line.strip()), "")
    recorded.put_back(first)
    found = _of_jsonl(kind, recorded, mapping) if first.lstrip("\ufeff \t").startswith("{") else _of_csv(kind, recorded, mapping)
    times: dict[int, int] = {}
    for row in found:
        if isinstance(row.call, dict):
            _name(row.call, kind, times)
        yield row


def header_of(kind: Kind, names: list[str], mapping: ImportMapping) -> list[str | None]:
    """The targets of columns with these names; a column without a name has `column 3`."""
    return [target_of(kind, name.strip() or f"column {number}", mapping) for number, name in enumerate(names, 1)]


class _Recorded:
    """Lines, and which of them were read since the last look."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again = lines, ""
        self.number, self._read, self._start = 0, [""], 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._again = (self._again, "") if self._again else (next(self._lines), "")
        self.number += 1
        self._read.append(line)
        return line

    def put_back(self, line: str) -> None:
        if line:
            self._again = line
            self.number -= 1
        self._read.clear()
        self._start = self.number + 1

    def taken(self) -> tuple[int, str]:
        """The number of the first line since the last look, and all lines since."""
        start, raw = self._start, "".join(self._read).rstrip("\r\n")
        self._read.clear()
        self._start = self.number + 1
        return start, raw


def _of_jsonl(kind: Kind, lines: _Recorded, mapping: ImportMapping) -> Iterator[Row]:
    for line in lines:
        number, raw = lines.taken()
        if not line.strip():
            continue
        try:
            value = loads(line.strip().encode("utf-8", "surrogateescape"))
        except (Unparsable, UnicodeEncodeError):
            yield Row(number, raw, Rejected(Reason.UNPARSABLE, "not JSON in UTF-8"))
            continue
        if not isinstance(value, dict):
            yield Row(number, raw, Rejected(Reason.NOT_AN_OBJECT, "must be an object"))
            continue
        cells = [(name, target_of(kind, name, mapping), held) for name, held in value.items() if isinstance(name, str)]
        yield Row(number, raw, _called(kind, cells, mapping))


def _of_csv(kind: Kind, lines: _Recorded, mapping: ImportMapping) -> Iterator[Row]:
    try:
        first = next(lines)
    except StopIteration:
        return
    lines.put_back(first)
    reader = csv.reader(lines, delimiter=mapping.delimiter or _delimiter(first), skipinitialspace=True)
    try:
        names = next(reader)
    except csv.Error:
        yield from _without_header(lines)
        return
    targets = header_of(kind, names, mapping)
    lines.taken()
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(*lines.taken(), Rejected(Reason.UNPARSABLE, "a cell is too long: is a quotation mark left open?"))
            continue
        number, raw = lines.taken()
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            yield Row(number, raw, Rejected(Reason.WRONG_TYPE, f"has {len(cells)} cells, the header has {len(names)}"))
            continue
        named = [(name, target, cell.strip()) for name, target, cell in zip(names, targets, cells, strict=False) if cell.strip()]
        yield Row(number, raw, _called(kind, named, mapping))


def _without_header(lines: _Recorded) -> Iterator[Row]:
    """All lines of a file whose header no CSV can have."""
    rejected = Rejected(Reason.UNPARSABLE, "the header has a cell that is too long: is this CSV?")
    yield Row(*lines.taken(), rejected)
    for _ in lines:
        yield Row(*lines.taken(), rejected)


def _delimiter(header: str) -> str:
    """The separator that the header holds most of, outside quotation marks."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _called(kind: Kind, cells: list[tuple[str, str | None, Any]], mapping: ImportMapping) -> dict[str, Any] | Rejected:
    """The call of a row's cells: (name, target, value)."""
    call: dict[str, Any] = {"type": _TYPES[kind]}
    whole = f"{'traits' if kind == 'customers' else 'properties'}."
    try:
        for name, target, value in cells:
            if target is None or value is None or value == "":
                continue
            if (
                target == f"{whole}{name}"
                and name in ("traits", "properties", "context", "identifiers")
                and isinstance(value, dict)
            ):
                call[name] = {**value, **call.get(name, {})}
            elif not (name == "type" and value == call["type"]) and not placed(call, kind, target, _read(value, target, mapping)):
                placed(call, kind, f"{whole}{name.strip()}", value)
        for target, value in mapping.constants.items():
            placed(call, kind, target, _read(value, target, mapping))
    except _Bad as bad:
        return bad.rejected
    if kind == "events":
        call.setdefault("event", ORDER)
    if (found := flaw(call)) is not None:
        return Rejected(Reason.UNPARSABLE, f"is not UTF-8, or holds {found}")
    return call


def _read(value: Any, target: str, mapping: ImportMapping) -> Any:
    """The value as its target wants it. Raises _Bad with the column's target: its name may be anybody's."""
    if target in NUMBERS or target in mapping.numbers:
        found: Any = number_of(value)
        wanted = "a number"
    elif target in INSTANTS:
        found, wanted = instant_of(value, mapping.zone, day_first=mapping.day_first), "a time"
    elif target in DATES:
        return day_of(value, day_first=mapping.day_first)
    elif target in PLAIN and isinstance(value, dict | list):
        found, wanted = None, "text"
    else:
        return value
    if found is None:
        raise _Bad(Reason.WRONG_TYPE, f"cannot be read as {wanted}", target)
    return found


def _name(call: dict[str, Any], kind: Kind, times: dict[int, int]) -> None:
    """A message id of the call's content, if it has none."""
    if call.get("messageId"):
        return
    content = orjson.dumps([kind, call], option=orjson.OPT_SORT_KEYS)
    digest = blake2b(content, digest_size=16)
    key = int.from_bytes(digest.digest()[:8], "big")
    before = times.get(key, 0)
    times[key] = before + 1
    call["messageId"] = f"import-{digest.hexdigest()}" + (f"-{before}" if before else "")
