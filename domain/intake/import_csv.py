"""Read the records of a CSV file so that a wrong quotation mark costs the row that has it, and never the rows below. Pure.

A quotation mark that is never closed makes everything below it one cell. Most readers return that as a row, or drop it. Here a
record must be closed properly, and a record of several lines must not hold lines that look like rows themselves. Otherwise the
lines from the mark up to the next one that looks like a row are one rejected record, which says where the mark is, and reading goes
on there. No line is read more than a few times: what an open mark has reached once is not read to its end again for the next one.

Example: of `id,name,city`, `K1,"An,Huế`, `K2,Bình,Huế` the first row is rejected with "column 2, character 4", the second is read.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from domain.intake.import_lines import FileRefused, RecordingLines, text_of_lines
from domain.intake.rejection import Rejection
from schemas.reasons import Reason

_DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_HINT: Final = "sep="
"""How the first line begins with which spreadsheets name the delimiter."""
_OPEN_AT_END: Final = "unexpected end of data"
"""How the reader complains of a quoted cell that is not closed."""
MAX_COLUMNS: Final = 1000


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
        if hint := _hinted_delimiter(first):
            delimiter = delimiter or hint
            lines.take()
            first = next(lines, "")
        lines.put_back([first] if first else [])
        lines.take()
        self._delimiter = delimiter or _guess_delimiter(first)
        self._blanks = " \t".replace(self._delimiter, "")
        self._records = self._reader(lines)
        self._reached = 0
        """The number of the last line that a record with an open quotation mark has reached."""
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
        number, _ = self._lines.take()
        if len(names) > MAX_COLUMNS:
            raise FileRefused(f"line {number}: has {len(names):,} columns, the limit is {MAX_COLUMNS:,}: leave some out")
        return names

    def _next_record(self) -> CsvRecord | None:
        if self._lines.number + 1 < self._reached and (row := self._row_inside_of_open_cell()):
            lines = [next(self._lines) for _ in range(row)]
            number, _ = self._lines.take()
            return CsvRecord(number, text_of_lines(lines), self._rejection(lines[0]))
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

    def _row_inside_of_open_cell(self) -> int:
        """Return how many lines below the next one the first lies that looks like a row; 0 when the next line may be a record.

        A quoted cell that is still open at the end of the next line would go on as the one did that reached these lines before: to
        the same end, over the same rows. So it is rejected without being read to that end again.
        """
        first = next(iter(self._lines.pending))
        if not self._leaves_cell_open(first):
            return 0
        known = islice(self._lines.pending, 1, self._reached - self._lines.number - 1)
        return next((index for index, line in enumerate(known, 1) if self._looks_like_row(line)), 0)

    def _leaves_cell_open(self, line: str) -> bool:
        try:
            next(self._reader(iter([line])), None)
        except csv.Error as error:
            return str(error) == _OPEN_AT_END
        return False

    def _recover(self) -> CsvRecord:
        """Return the record of the line at which reading failed, and go on below it."""
        number, lines = self._lines.take()
        if (record := self._record_of_line(number, lines[0])) is not None:
            self._lines.put_back(lines[1:])
            return record
        return self._reject(number, lines)

    def _reject(self, number: int, lines: list[str]) -> CsvRecord:
        """Return the rejected record of a line with a wrong quotation mark and of all lines up to one that looks like a row."""
        self._reached = number + len(lines) - 1
        end = next((index for index in range(1, len(lines)) if self._looks_like_row(lines[index])), len(lines))
        self._lines.put_back(lines[end:])
        return CsvRecord(number, text_of_lines(lines[:end]), self._rejection(lines[0]))

    def _record_of_line(self, number: int, line: str) -> CsvRecord | None:
        """Return the record of one line whose only fault is white space behind a closing quotation mark; None for other faults."""
        first, *parts = line.split('"')
        stripped = [part.lstrip(self._blanks) for part in parts]
        closed = [
            after if after.startswith(self._delimiter) or (index == len(parts) and not after.strip("\r\n")) else before
            for index, (before, after) in enumerate(zip(parts, stripped, strict=True), 1)
        ]
        cells = self._cells_of('"'.join([first, *closed]))
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
        at_start, end = True, len(line.rstrip("\r\n"))
        while index < len(line):
            letter = line[index]
            if opened >= 0:
                if letter == '"' and line[index + 1 : index + 2] == '"':
                    index += 1
                elif letter == '"':
                    behind = index + 1
                    while behind < end and line[behind] in self._blanks:
                        behind += 1
                    if behind < end and line[behind] != self._delimiter:
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


def _hinted_delimiter(line: str) -> str:
    """Return the delimiter of a line such as `sep=;`, empty for any other line."""
    text = line.removeprefix('"')
    delimiter, behind = text[len(_SEPARATOR_HINT) :][:1], text[len(_SEPARATOR_HINT) + 1 :]
    is_hint = text.startswith(_SEPARATOR_HINT) and not behind.removeprefix('"').strip()
    return delimiter if is_hint and delimiter not in "\r\n" else ""


def _guess_delimiter(header: str) -> str:
    """Return the delimiter that occurs most often in the header, outside quotation marks."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)
