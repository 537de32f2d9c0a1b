"""The lines of an imported file: which encoding they have, what is no file of rows at all, and lines that can be put back. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

_ENCODING_SAMPLE_BYTES: Final = 512
SIGNATURE_BYTES: Final = 16
"""How many bytes of a file tell what is no text."""
_SIGNATURES: Final = (
    (b"PK\x03\x04", "a spreadsheet (.xlsx) or a zip archive: in the spreadsheet, save it as CSV UTF-8; unpack an archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of the old kind (.xls): open it and save it as CSV UTF-8"),
    (b"\x1f\x8b", "gzipped: unpack it with gunzip"),
    (b"%PDF", "a PDF: export the table behind it as CSV"),
    (b"PAR1", "a Parquet file: export it as CSV or as JSON lines"),
    (b"SQLite format", "a database: export the table as CSV"),
)
"""How files begin that are no text, and what to do."""
_BEGIN_JSON_ELEMENTS: Final = ("", "[", "{", '"', "]")


class FileRefused(ValueError):
    """The file as a whole cannot be imported. The message names line and column where it can, and the cure; it quotes no value."""


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


def require_text(start: bytes) -> None:
    """Raise FileRefused, with the cure, for a file that begins like a spreadsheet, an archive or another file that is no text."""
    for signature, description in _SIGNATURES:
        if start.startswith(signature):
            raise FileRefused(f"the file is {description}")


def require_rows(first_line: str) -> None:
    """Raise FileRefused when the first line that is not blank begins a JSON array, an indented JSON document, HTML or XML."""
    text = first_line.strip().lstrip("\ufeff")
    if text.startswith("[") and text[1:].lstrip()[:1] in _BEGIN_JSON_ELEMENTS:
        raise FileRefused("line 1: this is a JSON array: write one object per line (JSON lines), such as `jq -c '.[]' FILE` does")
    if text == "{":
        raise FileRefused("line 1: a JSON object begins and does not end: write each object on one line, as `jq -c . FILE` does")
    if text.startswith("<"):
        raise FileRefused("line 1: this is HTML or XML: open it in a spreadsheet and save it as CSV UTF-8")


class RecordingLines:
    """An iterator of lines that records which lines were read since they were last taken, and takes lines back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._pending: deque[str] = deque()
        self._recorded: list[str] = []
        self.number = 0
        """The number of the line that was read last, from 1."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pending.popleft() if self._pending else next(self._lines)
        self.number += 1
        self._recorded.append(line)
        return line

    @property
    def pending(self) -> Iterable[str]:
        """The lines that were put back, the next one first."""
        return self._pending

    def put_back(self, lines: list[str]) -> None:
        """Make these lines, the last that were read, the next again."""
        self._pending.extendleft(reversed(lines))
        self.number -= len(lines)

    def take(self) -> tuple[int, list[str]]:
        """Return the number of the first recorded line and all of them, and start recording anew."""
        recorded, self._recorded = self._recorded, []
        return self.number - len(recorded) + 1, recorded


def text_of_lines(lines: list[str]) -> str:
    """Return the text of some lines without the end of the last one."""
    return "".join(lines).rstrip("\r\n")
