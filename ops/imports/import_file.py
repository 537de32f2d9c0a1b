"""The file of an import: its lines, its mapping, and how far it has been read."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import yaml
from pydantic import ValidationError

from domain.intake.import_columns import ImportMapping
from domain.intake.import_rows import detect_encoding
from runtime.errors import Invalid, Misconfigured

MAX_LINE_CHARS: Final = 1024 * 1024
_ENCODING_SAMPLE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ImportFile:
    """An open file. `lines` are read one by one; `size_bytes` is the size of the whole."""

    lines: Iterator[str]
    size_bytes: int
    handle: BinaryIO

    def read_bytes(self) -> int:
        """Return how far the file has been read, in bytes."""
        return self.handle.tell()


@contextmanager
def open_import_file(path: Path) -> Iterator[ImportFile]:
    """Open a file and detect its encoding. Raises Misconfigured when it cannot be read, Invalid for a line that is too long."""
    try:
        handle = path.open("rb")
        size = path.stat().st_size
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({type(error).__name__})") from error
    with handle:
        encoding, errors = detect_encoding(handle.read(_ENCODING_SAMPLE_BYTES))
        handle.seek(0)
        with io.TextIOWrapper(handle, encoding=encoding, errors=errors, newline="") as text:
            yield ImportFile(_lines(text), size, handle)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS:
            raise Invalid(f"line {number} is longer than {MAX_LINE_CHARS} characters: is this CSV or JSONL?", reason="too_large")
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
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}" for fault in error.errors(include_input=False)[:8]
        ]
        raise Misconfigured("; ".join(f"{path or 'command line'}: {line}" for line in faults)) from None
