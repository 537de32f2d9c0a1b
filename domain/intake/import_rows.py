"""Read the rows of a file, CSV or JSONL, as calls. Pure: the caller passes in the lines."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from domain.instants import instant_ms, iso_instant, read_day, read_day_or_instant
from domain.intake.import_columns import (
    DATE_TARGETS,
    DEFAULT_EVENT,
    INSTANT_TARGETS,
    NUMBER_TARGETS,
    TOP_LEVEL_TARGETS,
    ImportKind,
    ImportMapping,
    set_value,
    target_of_column,
)
from domain.intake.rejection import CallRejected, Rejection
from domain.intake.values import Unparsable, find_violation, loads
from domain.numbers import read_number
from schemas.reasons import Reason

_DELIMITERS: Final = (",", ";", "\t", "|")
_CALL_TYPE_BY_KIND: Final[dict[ImportKind, str]] = {"customers": "identify", "events": "track"}
_ENCODING_SAMPLE_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A row: the line where it begins (from 1), its text in the file, and its call or why it has none."""

    line: int
    raw: str
    call: dict[str, Any] | Rejection


def detect_encoding(start: bytes) -> tuple[str, str]:
    """Return the encoding of a file that begins with `start`, and how the decoder treats bytes that do not fit it.

    A byte order mark or many zero bytes mean UTF-16, anything else UTF-8. Bytes that are no UTF-8 become lone surrogates, so that
    only the row with them is rejected.
    """
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", "replace"
    sample = start[:_ENCODING_SAMPLE_BYTES]
    if len(sample) >= 8 and max(sample[::2].count(0), sample[1::2].count(0)) * 4 > len(sample):
        return ("utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"), "replace"
    return "utf-8-sig", "surrogateescape"


def read_rows(kind: ImportKind, lines: Iterator[str], mapping: ImportMapping) -> Iterator[ImportRow]:
    """Yield the rows of a file in order, without the empty ones. A first letter `{` means JSONL, anything else CSV with a header.

    Equal rows get equal message ids, with a number behind the second and later ones of a file. So a file that is read again, or a
    longer version of it, makes the same calls, and what was imported before is a duplicate.
    """
    recording = _RecordingLines(lines)
    first = next((line for line in recording if line.strip()), "")
    recording.put_back(first)
    parsed_rows = (
        _read_jsonl(kind, recording, mapping) if first.lstrip("\ufeff \t").startswith("{") else _read_csv(kind, recording, mapping)
    )
    occurrences: dict[int, int] = {}
    for row in parsed_rows:
        if isinstance(row.call, dict):
            _set_message_id(row.call, kind, occurrences)
        yield row


def header_targets(kind: ImportKind, names: list[str], mapping: ImportMapping) -> list[str | None]:
    """Return the targets of columns with these names. The third column, if it has no name, is called `column 3`."""
    return [target_of_column(kind, name.strip() or f"column {number}", mapping) for number, name in enumerate(names, 1)]


class _RecordingLines:
    """An iterator of lines that also records which lines were read since they were last taken: the text of a CSV row."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._pushed_back = ""
        self.number = 0
        self._recorded_lines = [""]
        self._first_number = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._pushed_back = (self._pushed_back, "") if self._pushed_back else (next(self._lines), "")
        self.number += 1
        self._recorded_lines.append(line)
        return line

    def put_back(self, line: str) -> None:
        if line:
            self._pushed_back = line
            self.number -= 1
        self._recorded_lines.clear()
        self._first_number = self.number + 1

    def pop_recorded(self) -> tuple[int, str]:
        """Return the number of the first recorded line and the text of all of them, and start recording anew."""
        start, raw = self._first_number, "".join(self._recorded_lines).rstrip("\r\n")
        self._recorded_lines.clear()
        self._first_number = self.number + 1
        return start, raw


def _read_jsonl(kind: ImportKind, lines: _RecordingLines, mapping: ImportMapping) -> Iterator[ImportRow]:
    for line in lines:
        number, raw = lines.pop_recorded()
        if not line.strip():
            continue
        try:
            value = loads(line.strip().encode("utf-8", "surrogateescape"))
        except (Unparsable, UnicodeEncodeError):
            yield ImportRow(number, raw, Rejection(Reason.UNPARSABLE, "not JSON in UTF-8"))
            continue
        if not isinstance(value, dict):
            yield ImportRow(number, raw, Rejection(Reason.NOT_AN_OBJECT, "must be an object"))
            continue
        cells = [(name, target_of_column(kind, name, mapping), cell) for name, cell in value.items() if isinstance(name, str)]
        yield ImportRow(number, raw, _build_call(kind, cells, mapping))


def _read_csv(kind: ImportKind, lines: _RecordingLines, mapping: ImportMapping) -> Iterator[ImportRow]:
    try:
        first = next(lines)
    except StopIteration:
        return
    lines.put_back(first)
    reader = csv.reader(lines, delimiter=mapping.delimiter or _guess_delimiter(first), skipinitialspace=True)
    try:
        names = next(reader)
    except csv.Error:
        yield from _reject_every_line(lines)
        return
    targets = header_targets(kind, names, mapping)
    lines.pop_recorded()
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield ImportRow(
                *lines.pop_recorded(), Rejection(Reason.UNPARSABLE, "a cell is too long: is a quotation mark left open?")
            )
            continue
        number, raw = lines.pop_recorded()
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            yield ImportRow(number, raw, Rejection(Reason.WRONG_TYPE, f"has {len(cells)} cells, the header has {len(names)}"))
            continue
        named_cells = [
            (name, target, cell.strip()) for name, target, cell in zip(names, targets, cells, strict=False) if cell.strip()
        ]
        yield ImportRow(number, raw, _build_call(kind, named_cells, mapping))


def _reject_every_line(lines: _RecordingLines) -> Iterator[ImportRow]:
    """Yield every line of a file as rejected, because its header cannot be read as CSV."""
    rejection = Rejection(Reason.UNPARSABLE, "the header has a cell that is too long: is this CSV?")
    yield ImportRow(*lines.pop_recorded(), rejection)
    for _ in lines:
        yield ImportRow(*lines.pop_recorded(), rejection)


def _guess_delimiter(header: str) -> str:
    """Return the delimiter that occurs most often in the header, outside quotation marks."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _build_call(kind: ImportKind, cells: list[tuple[str, str | None, Any]], mapping: ImportMapping) -> dict[str, Any] | Rejection:
    """Return the call of a row, whose cells are (name, target, value), or why it has none."""
    call: dict[str, Any] = {"type": _CALL_TYPE_BY_KIND[kind]}
    own_prefix = f"{'traits' if kind == 'customers' else 'properties'}."
    try:
        for name, target, value in cells:
            if target is None or value is None or value == "":
                continue
            if (
                target == f"{own_prefix}{name}"
                and name in ("traits", "properties", "context", "identifiers")
                and isinstance(value, dict)
            ):
                call[name] = {**value, **call.get(name, {})}
            elif not (name == "type" and value == call["type"]) and not set_value(
                call, kind, target, _convert(value, target, mapping)
            ):
                set_value(call, kind, f"{own_prefix}{name.strip()}", value)
        for target, value in mapping.constants.items():
            set_value(call, kind, target, _convert(value, target, mapping))
    except CallRejected as error:
        return error.rejection
    if kind == "events":
        call.setdefault("event", DEFAULT_EVENT)
    if (violation := find_violation(call)) is not None:
        return Rejection(Reason.UNPARSABLE, f"is not UTF-8, or holds {violation}")
    return call


def _convert(value: Any, target: str, mapping: ImportMapping) -> Any:
    """Return the value as its target needs it. Raises CallRejected with the target: a column's own name may be personal."""
    if target in NUMBER_TARGETS or target in mapping.numbers:
        converted: Any = read_number(value, mapping.decimal)
        expected = "a number"
    elif target in INSTANT_TARGETS:
        at_ms = instant_ms(value, mapping.reading(target))
        converted, expected = None if at_ms is None else iso_instant(at_ms), "a time"
    elif target in DATE_TARGETS:
        converted, expected = read_day(value, mapping.reading(target)) or (None if target in mapping.dates else value), "a day"
    elif target in mapping.dates:
        converted, expected = read_day_or_instant(value, mapping.reading(target)), "a date"
    elif target in TOP_LEVEL_TARGETS and isinstance(value, dict | list):
        converted, expected = None, "text"
    else:
        return value
    if converted is None:
        raise CallRejected(Reason.WRONG_TYPE, f"cannot be read as {expected}", target)
    return converted


def _set_message_id(call: dict[str, Any], kind: ImportKind, occurrences: dict[int, int]) -> None:
    """Give a call without a message id one made of its content."""
    if call.get("messageId"):
        return
    content = orjson.dumps([kind, call], option=orjson.OPT_SORT_KEYS)
    digest = blake2b(content, digest_size=16)
    key = int.from_bytes(digest.digest()[:8], "big")
    earlier = occurrences.get(key, 0)
    occurrences[key] = earlier + 1
    call["messageId"] = f"import-{digest.hexdigest()}" + (f"-{earlier}" if earlier else "")
