"""The file of an import: its lines, its mapping, and how far it has been read."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import yaml
from pydantic import ValidationError

from domain.definitions.error_messages import error_messages
from domain.definitions.model_shapes import shape_of
from domain.intake.import_columns import ImportMapping
from domain.intake.import_lines import FileRefused, detect_encoding, require_text
from runtime.errors import Invalid, Misconfigured

STANDARD_INPUT: Final = "-"
MAX_LINE_CHARS: Final = 1024 * 1024
_SAMPLE_BYTES: Final = 4096


class _CountingInput(io.RawIOBase):
    """A readable stream that gives the bytes that were read as a sample once more, and counts what is read. A pipe cannot seek."""

    def __init__(self, sample: bytes, handle: BinaryIO) -> None:
        super().__init__()
        self._sample = sample
        self._handle = handle
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # the type of a buffer differs by version
        chunk = self._sample[: len(buffer)] or self._handle.read(len(buffer))
        self._sample = self._sample[len(buffer) :]
        buffer[: len(chunk)] = chunk
        self.read_bytes += len(chunk)
        return len(chunk)


@dataclass(frozen=True, slots=True)
class ImportFile:
    """An open file. `lines` are read one by one; `size_bytes` is the size of the whole, None for a pipe."""

    lines: Iterator[str]
    size_bytes: int | None
    _input: _CountingInput

    def read_bytes(self) -> int:
        """Return how far the file has been read, in bytes."""
        return self._input.read_bytes


@contextmanager
def open_import_file(path: Path) -> Iterator[ImportFile]:
    """Open a file, a pipe, or the standard input for the path `-`, and detect its encoding.

    Raises Misconfigured when it cannot be read, Invalid for a line that is too long and for a file that is no text. A FileRefused
    of whoever reads the lines becomes Invalid too.
    """
    is_standard_input = str(path) == STANDARD_INPUT
    try:
        handle: BinaryIO = sys.stdin.buffer if is_standard_input else path.open("rb")
        size = path.stat().st_size if not is_standard_input and path.is_file() else None
        sample = handle.read(_SAMPLE_BYTES)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error
    try:
        require_text(sample)
        encoding, errors = detect_encoding(sample)
        counting_input = _CountingInput(sample, handle)
        with io.TextIOWrapper(io.BufferedReader(counting_input), encoding=encoding, errors=errors, newline="") as text:
            yield ImportFile(_lines(text), size, counting_input)
    except FileRefused as error:
        raise Invalid(f"{path}: {error}", reason="file_refused") from None
    finally:
        if not is_standard_input:
            handle.close()


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS:
            raise Invalid(f"line {number} is longer than {MAX_LINE_CHARS:,} characters: is this CSV or JSONL?", reason="too_large")
        yield line


def load_mapping(path: Path | None, event: str | None, timezone: str | None) -> ImportMapping:
    """Return the mapping of a YAML file, completed by the options of the command line.

    Raises Misconfigured, which names the file and the field.
    """
    document: object = {}
    if path is not None:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise Misconfigured(
                f"{path} is no mapping ({type(error).__name__}): it is a YAML document with columns: {{…}}"
            ) from error
    if isinstance(document, dict):
        if timezone is not None:
            document = {**document, "timezone": timezone}
        if event is not None:
            document = {**document, "constants": {**(document.get("constants") or {}), "event": event}}
    try:
        return ImportMapping.model_validate(document)
    except ValidationError as error:
        # The messages are those of definitions, whose errors begin with the name of the kind.
        faults_of_kind = [{**fault, "loc": ("ImportMapping", *fault["loc"])} for fault in error.errors(include_url=False)]
        faults = error_messages(document, faults_of_kind, shape_of(ImportMapping))
        raise Misconfigured("\n".join(f"{path or 'command line'}: {line}" for line in faults)) from None
