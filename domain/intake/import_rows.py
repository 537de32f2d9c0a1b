"""Read the rows of a file, CSV or JSONL, as calls. Pure: the caller passes in the lines.

Nothing is dropped in silence: a row becomes a call or says why it has none, and a file that cannot be meant as it is, such as one
that lacks a column of its mapping, raises FileRefused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
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
    header_targets,
    set_value,
    target_of_column,
)
from domain.intake.import_csv import CsvReader
from domain.intake.import_lines import FileRefused, RecordingLines, require_rows, text_of_lines
from domain.intake.import_orders import ImportRow, join_order_rows
from domain.intake.rejection import CallRejected, Rejection
from domain.intake.values import LONE_SURROGATE, Unparsable, find_violation, loads
from domain.numbers import read_number
from schemas.instants import DAY_MS
from schemas.reasons import Reason

_CALL_TYPE_BY_KIND: Final[dict[ImportKind, str]] = {"customers": "identify", "events": "track"}
MAX_ROW_CHARS: Final = 128 * 1024
"""A longer row is not read: its event would be far over any limit, and whoever sends rows must not decide what they cost."""
_TOO_LARGE: Final = Rejection(Reason.TOO_LARGE, f"the row has more than {MAX_ROW_CHARS:,} characters")
_FUTURE_TOLERANCE_MS: Final = DAY_MS
"""A local time that was read in another zone may seem to lie up to a day ahead."""


@dataclass(frozen=True, slots=True)
class _RowRules:
    """What all rows of a file share. Times after `latest_ms` are refused, because they would become the time of the import."""

    kind: ImportKind
    mapping: ImportMapping
    latest_ms: int | None


def read_rows(kind: ImportKind, lines: Iterator[str], mapping: ImportMapping, *, now_ms: int | None = None) -> Iterator[ImportRow]:
    """Yield the rows of a file in order, without the empty ones. A first letter `{` means JSONL, anything else CSV with a header.

    Equal rows get equal message ids, with a number behind the second and later ones of a file. So a file that is read again, or a
    longer version of it, makes the same calls, and what was imported before is a duplicate. With `now_ms` a time in the future is
    refused. Raises FileRefused for a file that cannot be meant as it is; an empty file has no rows.
    """
    recording = RecordingLines(lines)
    first = next((line for line in recording if line.strip()), "")
    if not first:
        if recording.number:
            raise FileRefused("the file has no rows: all of its lines are blank")
        return
    require_rows(first)
    recording.put_back([first])
    recording.take()
    rules = _RowRules(kind, mapping, None if now_ms is None else now_ms + _FUTURE_TOLERANCE_MS)
    is_jsonl = first.lstrip("\ufeff \t").startswith("{")
    rows = _read_jsonl(rules, recording) if is_jsonl else _read_csv(rules, recording)
    if kind == "events":
        rows = map(_require_time, join_order_rows(rows, str(mapping.constants.get("event", DEFAULT_EVENT))))
    occurrences: dict[int, int] = {}
    for row in rows:
        if isinstance(row.call, dict):
            _set_message_id(row.call, kind, occurrences)
        yield row


def _require_time(row: ImportRow) -> ImportRow:
    """Return the row of an event, rejected when it does not say when: it would become an event of the time of the import."""
    if isinstance(row.call, Rejection) or "timestamp" in row.call:
        return row
    return replace(row, call=Rejection(Reason.MISSING_FIELD, "the row does not say when the event happened", "time"))


def _read_jsonl(rules: _RowRules, lines: RecordingLines) -> Iterator[ImportRow]:
    kind, mapping = rules.kind, rules.mapping
    missing_columns = set(mapping.columns)
    for line in lines:
        number, recorded = lines.take()
        raw = text_of_lines(recorded)
        if not line.strip():
            continue
        if len(raw) > MAX_ROW_CHARS:
            yield ImportRow(number, raw, _TOO_LARGE)
            continue
        try:
            value = loads(line.strip().encode("utf-8", "surrogateescape"))
        except (Unparsable, UnicodeEncodeError):
            yield ImportRow(number, raw, Rejection(Reason.UNPARSABLE, "the line is not JSON in UTF-8"))
            continue
        if not isinstance(value, dict):
            yield ImportRow(number, raw, Rejection(Reason.NOT_AN_OBJECT, "the line must be a JSON object"))
            continue
        missing_columns.difference_update(value)
        cells = [(name, target_of_column(kind, name, mapping), cell) for name, cell in value.items() if isinstance(name, str)]
        yield ImportRow(number, raw, _build_call(rules, cells))
    if missing_columns:
        raise FileRefused(f"the mapping names {_quoted(missing_columns)}, which no row of the file has: correct the mapping")


def _read_csv(rules: _RowRules, lines: RecordingLines) -> Iterator[ImportRow]:
    reader = CsvReader(lines, rules.mapping.delimiter)
    names = reader.names
    targets = header_targets(rules.kind, names, rules.mapping, reader.header_line)
    records = iter(reader)
    first = next(records, None)
    if first is None:
        raise FileRefused(f"the file has no rows: below the header in line {reader.header_line} there is nothing")
    for number, raw, cells in chain([first], records):
        if isinstance(cells, Rejection):
            yield ImportRow(number, raw, cells)
        elif len(raw) > MAX_ROW_CHARS:
            yield ImportRow(number, raw, _TOO_LARGE)
        elif len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            detail = f"the row has {len(cells)} cells, the header has {len(names)}"
            yield ImportRow(number, raw, Rejection(Reason.WRONG_TYPE, detail))
        else:
            named_cells = [
                (name, target, cell.strip()) for name, target, cell in zip(names, targets, cells, strict=False) if cell.strip()
            ]
            yield ImportRow(number, raw, _build_call(rules, named_cells))


def _quoted(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _build_call(rules: _RowRules, cells: list[tuple[str, str | None, Any]]) -> dict[str, Any] | Rejection:
    """Return the call of a row, whose cells are (name, target, value), or why it has none."""
    kind = rules.kind
    call: dict[str, Any] = {"type": _CALL_TYPE_BY_KIND[kind]}
    try:
        for name, target, value in cells:
            if target is not None and value is not None and value != "":
                _put_cell(call, rules, name, target, value)
        for target, value in rules.mapping.constants.items():
            set_value(call, kind, target, _convert(value, target, rules))
    except CallRejected as error:
        return error.rejection
    if kind == "events":
        call.setdefault("event", DEFAULT_EVENT)
    if (violation := find_violation(call)) is not None:
        if violation.description == LONE_SURROGATE:
            return Rejection(Reason.UNPARSABLE, "the row is not UTF-8")
        return Rejection(violation.reason, f"the row holds {violation.description}")
    return call


def _put_cell(call: dict[str, Any], rules: _RowRules, name: str, target: str, value: Any) -> None:
    """Put the value of a cell into the call: at its target, or under its own name when another cell is there."""
    own_target = f"{'traits' if rules.kind == 'customers' else 'properties'}.{name.strip()}"
    is_object_field = target == own_target and name in ("traits", "properties", "context", "identifiers")
    if value == [] and (is_object_field or target != own_target):
        return  # PHP writes an empty object so: it is absent wherever no list is due
    if is_object_field and isinstance(value, dict):
        call[name] = {**value, **call.get(name, {})}
        return
    if (name == "type" and value == call["type"]) or set_value(call, rules.kind, target, _convert(value, target, rules)):
        return
    if not set_value(call, rules.kind, own_target, value):
        raise CallRejected(Reason.WRONG_TYPE, "two columns of the row hold this field: map one of them, or leave it out", target)


def _convert(value: Any, target: str, rules: _RowRules) -> Any:
    """Return the value as its target needs it. Raises CallRejected with the target: a column's own name may be personal."""
    mapping = rules.mapping
    if target in NUMBER_TARGETS or target in mapping.numbers:
        converted: Any = read_number(value, mapping.decimal)
        expected = "a number"
    elif target in INSTANT_TARGETS:
        at_ms = instant_ms(value, mapping.reading(target))
        if at_ms is not None and target == "time" and rules.latest_ms is not None and at_ms > rules.latest_ms:
            raise CallRejected(Reason.WRONG_TYPE, "lies in the future", target)
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
