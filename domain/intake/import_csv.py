"""Read the records of a CSV file so that a wrong quotation mark costs the row that has it, and never the rows below. Pure.

A quotation mark that is never closed makes everything below it one cell. Most readers return that as a row, or drop it. Here a
record must be closed properly, and a record of several lines must not hold lines that look like rows themselves. Otherwise the
lines from the mark up to the next one that looks like a row are one rejected record, which says where the mark is, and reading goes
on there. What is read twice ends at the next quotation mark, so time stays linear.

Example: of `id,name,city`, `K1,"An,Huế`, `K2,Bình,Huế` the first row is rejected with "column 2, character 4", the second is read.
"""

import csv
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from domain.intake.import_lines import FileRefused, RecordingLines, text_of_lines
from domain.intake.rejection import Rejection
from schemas.reasons import Reason

_DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_HINT: Final = re.compile(r'"?sep=(.)"?\s*')
"""The first line with which spreadsheets name the delimiter."""


class CsvRecord(NamedTuple):
    """A record: the line where it begins, its text, and its cells or why it has none."""

    line: int
    raw: str
    cells: list[str] | Rejection


class CsvReader:
    """The records of a file below its header, `names`. Raises FileRefused when the header cannot be read."""

    def __init__(self, lines: RecordingLines, delimiter: str | None) -> None:
        self._lines = lines
        first = next(lines)
        if hint := _SEPARATOR_HINT.fullmatch(first):
            delimiter = delimiter or hint[1]
            lines.take()
            first = next(lines, "")
        lines.put_back([first] if first else [])
        lines.take()
        self._delimiter = delimiter or _guess_delimiter(first)
        self._records = self._reader(lines)
        self.header_line = lines.number + 1
        self.names = self._read_header()

    def __iter__(self) -> Iterator[CsvRecord]:
        while (record := self._next_record()) is not None:
            if isinstance(record.cells, Rejection) or any(cell.strip() for cell in record.cells):
                yield record

    def _reader(self, lines: Iterator[str], *, skip_spaces: bool = True) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self._delimiter, skipinitialspace=skip_spaces, strict=True)

    def _read_header(self) -> list[str]:
        try:
            names = next(self._records)
        except (csv.Error, StopIteration):
            number, lines = self._lines.take()
            raise FileRefused(f"line {number}, {self._quote_problem(lines[0] if lines else '')}") from None
        self._lines.take()
        return names

    def _next_record(self) -> CsvRecord | None:
        try:
            cells = next(self._records)
        except StopIteration:
            return None
        except csv.Error:
            return self._recover()
        number, lines = self._lines.take()
        if len(lines) > 1 and self._swallows_rows(lines):
            return self._reject(number, lines)
        return CsvRecord(number, text_of_lines(lines), cells)

    def _recover(self) -> CsvRecord:
        """Return the record of the line at which reading failed, and go on below it."""
        number, lines = self._lines.take()
        if (record := self._record_of_line(number, lines[0])) is not None:
            self._lines.put_back(lines[1:])
            return record
        return self._reject(number, lines)

    def _reject(self, number: int, lines: list[str]) -> CsvRecord:
        """Return the rejected record of a line with a wrong quotation mark and of all lines up to one that looks like a row."""
        end = next((index for index in range(1, len(lines)) if self._looks_like_row(lines[index])), len(lines))
        self._lines.put_back(lines[end:])
        return CsvRecord(number, text_of_lines(lines[:end]), self._rejection(lines[0]))

    def _record_of_line(self, number: int, line: str) -> CsvRecord | None:
        """Return the record of one line whose only fault is white space behind a closing quotation mark; None for other faults."""
        spaced = re.sub(rf'"[ \t]+(?={re.escape(self._delimiter)}|\r?\n?$)', '"', line)
        cells = self._cells_of(spaced)
        return None if cells is None else CsvRecord(number, text_of_lines([line]), cells)

    def _cells_of(self, line: str, *, skip_spaces: bool = True) -> list[str] | None:
        try:
            return next(self._reader(iter([line]), skip_spaces=skip_spaces), None)
        except csv.Error:
            return None

    def _swallows_rows(self, lines: list[str]) -> bool:
        """Return whether lines of one quoted cell look like rows, so that the mark was left open and closed by a later one."""
        if len(self.names) == 1:
            return False
        opened_in_first_cell = lines[0].lstrip().startswith('"') and self._delimiter not in lines[0].partition('"')[2]
        return any(map(self._looks_like_row, lines[1:-1] if opened_in_first_cell else lines[1:]))

    def _looks_like_row(self, line: str) -> bool:
        """Return whether a line by itself has as many cells as the header, none with a space in front, as there is in prose."""
        cells = self._cells_of(line, skip_spaces=False)
        return cells is not None and len(cells) == len(self.names) and not any(cell.startswith(" ") for cell in cells)

    def _rejection(self, line: str) -> Rejection:
        return Rejection(Reason.UNPARSABLE, self._quote_problem(line))

    def _quote_problem(self, line: str) -> str:
        """Return which quotation mark of a line is wrong, by its column and its place in the line."""
        column, opened, index = 1, -1, 0
        at_start = True
        while index < len(line):
            letter = line[index]
            if opened >= 0:
                if letter == '"' and line[index + 1 : index + 2] == '"':
                    index += 1
                elif letter == '"':
                    rest = line[index + 1 :].lstrip(" \t")
                    if rest.rstrip("\r\n") and not rest.startswith(self._delimiter):
                        return (
                            f"column {column}, character {opened + 1}: a quotation mark is opened here and not closed; if the one "
                            f"at character {index + 1} belongs to the cell, double it"
                        )
                    opened = -1
            elif letter == self._delimiter:
                column, at_start = column + 1, True
                index += 1
                continue
            elif letter == '"' and at_start:
                opened = index
            if not letter.isspace():
                at_start = False
            index += 1
        if opened >= 0:
            return f"column {column}, character {opened + 1}: a quotation mark is opened here and not closed"
        return f"a cell is longer than {csv.field_size_limit():,} characters: is this CSV?"


def _guess_delimiter(header: str) -> str:
    """Return the delimiter that occurs most often in the header, outside quotation marks."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)
