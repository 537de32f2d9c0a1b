"""One import: rows become calls, calls are sent in batches, and a file beside it reports the rows that were not stored."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from domain.intake.import_columns import ImportKind, ImportMapping
from domain.intake.import_orders import ImportRow
from domain.intake.import_rows import read_rows
from domain.intake.rejection import Rejection
from ops.imports.collector_client import CollectorClient
from ops.imports.import_file import STANDARD_INPUT, open_import_file
from runtime.errors import Invalid
from schemas.reasons import Reason

BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
_IDENTIFIER_CHECK_ROWS: Final = 50
"""How many of the first rows are checked. If none of them has an identifier, the columns are mapped wrongly."""
_UNIQUE_CHECK_ROWS: Final = 20
"""With fewer rows it is chance whether every row has a customer of its own."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have been read, and the size of the file, None for a pipe."""


@dataclass(slots=True)
class ImportSummary:
    """The counts of an import: `rows` = `stored` + `refused` (never sent) + `quarantined` (by the collector).

    `reasons` counts the latter two by reason, and `report` is the name of the file that has them, "" when every row was
    stored. `interrupted` is true while the import runs, and stays so when it ends before the end of the file.
    """

    rows: int = 0
    stored: int = 0
    refused: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    report: str = ""
    interrupted: bool = False
    first_by_reason: dict[str, str] = field(default_factory=dict, compare=False)
    """Where the first row of each reason is, and what is wrong with it, as a text for people."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return asdict(self)


class RejectsFile:
    """The rows that were not stored, as JSON lines. The file is created with the first one, and only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._out: IO[bytes] | None = None
        path.unlink(missing_ok=True)

    def add(self, row: ImportRow, reason: str, path: str, detail: str) -> None:
        """Write a row's line number, reason, path, detail and text."""
        if self._out is None:
            self._out = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        raw = row.raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        entry = {"line": row.line, "reason": reason, "path": path, "detail": detail, "raw": raw}
        self._out.write(orjson.dumps(entry) + b"\n")

    def close(self) -> str:
        """Close the file and return its name, "" when every row was stored."""
        if self._out is None:
            return ""
        self._out.close()
        return str(self.path)


def rejects_path(path: Path) -> Path:
    """Return the name of the file for rejected rows: beside a file, in the working directory for the standard input or a pipe."""
    if path.is_file():
        return path.with_name(f"{path.name}.rejects.jsonl")
    return Path("stdin.rejects.jsonl" if str(path) == STANDARD_INPUT else f"{path.name}.rejects.jsonl")


def run(
    kind: ImportKind,
    path: Path,
    mapping: ImportMapping,
    client: CollectorClient,
    progress: Progress,
    *,
    summary: ImportSummary | None = None,
    now_ms: int | None = None,
) -> ImportSummary:
    """Import a file. It may be run again at any time: message ids come from the content, so a row that is stored is a duplicate.

    `summary` is filled as rows are sent, so that the caller has the counts when the import is interrupted by an error or by a
    person. Times after `now_ms` are refused. Raises what `CollectorClient.send` and `open_import_file` raise, and Invalid when the
    file cannot be meant as it is, when no column of the first rows identifies a person, or when an id is the order's.
    """
    summary = ImportSummary() if summary is None else summary
    rejects = RejectsFile(rejects_path(path))
    summary.interrupted = True
    try:
        with open_import_file(path) as file:
            for batch in batches(read_rows(kind, file.lines, mapping, now_ms=now_ms)):
                _require_identifiers(kind, summary, batch)
                if kind == "events":
                    _require_customer_ids(mapping, summary, batch)
                _send(batch, client, summary, rejects)
                progress(file.read_bytes(), file.size_bytes)
            progress(file.read_bytes(), file.read_bytes())
        summary.interrupted = False
    finally:
        summary.report = rejects.close()
    return summary


def batches(imported_rows: Iterator[ImportRow]) -> Iterator[list[ImportRow]]:
    """Yield the rows in batches of bounded count and size."""
    batch: list[ImportRow] = []
    size = 0
    for row in imported_rows:
        if batch and (len(batch) == BATCH_ROWS or size + len(row.raw) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.raw)
    if batch:
        yield batch


def _require_identifiers(kind: ImportKind, summary: ImportSummary, batch: list[ImportRow]) -> None:
    """Raise Invalid when none of the first rows has an identifier: such a file would only fill the quarantine."""
    if summary.rows:
        return
    calls = [row.call for row in batch[:_IDENTIFIER_CHECK_ROWS] if isinstance(row.call, dict)]
    if calls and not any(_has_identifier(call) for call in calls):
        hint = "" if kind == "customers" else ". A column `id` of events may be the order's, so it is not taken for the customer's"
        raise Invalid(
            "no column names a customer: call one customer id, email or phone, or say with --mapping which it is "
            f"(columns: {{its name: user_id}}){hint}",
            reason="no_identifier",
        )


def _require_customer_ids(mapping: ImportMapping, summary: ImportSummary, batch: list[ImportRow]) -> None:
    """Raise Invalid when an id is the order's: it differs in every one of the first rows, while another identifier comes again.

    A mapping that names a column as that id is believed.
    """
    calls = [row.call for row in batch if isinstance(row.call, dict)]
    if summary.rows or len(calls) < _UNIQUE_CHECK_ROWS:
        return
    identifiers = [call.get("identifiers") or {} for call in calls]
    for namespace in ("user_id", "crm_id"):
        ids = {str(row[namespace]) for row in identifiers if namespace in row}
        if len(ids) < len(calls) or namespace in mapping.columns.values():
            continue
        for other in ("email", "phone"):
            values = [row[other] for row in identifiers if other in row]
            if len({str(value) for value in values}) * 2 <= len(values) and len(values) * 2 >= len(calls):
                raise Invalid(
                    f"every row has a {namespace} of its own, although rows share a value of {other}: is it the order's? Say with "
                    f"--mapping which column is the customer (columns: {{its name: {namespace}}}), or that this one is not "
                    "(columns: {its name: properties.order_id})",
                    reason="unique_id",
                )


def _has_identifier(call: dict[str, Any]) -> bool:
    traits = call.get("traits")
    return bool(call.get("identifiers")) or (isinstance(traits, dict) and bool(traits.get("email") or traits.get("phone")))


def _send(batch: list[ImportRow], client: CollectorClient, summary: ImportSummary, rejects: RejectsFile) -> None:
    sent = [row for row in batch if isinstance(row.call, dict)]
    results = client.send([row.call for row in sent if isinstance(row.call, dict)]) if sent else []
    rejected: list[tuple[ImportRow, str, str, str]] = [
        (row, row.call.reason.value, row.call.path, row.call.detail) for row in batch if isinstance(row.call, Rejection)
    ]
    summary.refused += sum(row.row_count for row, *_ in rejected)
    quarantined = [
        (sent[result["index"]], str(result.get("reason", "")), str(result.get("path") or ""), _quarantine_detail(result))
        for result in results
    ]
    quarantined_count = sum(row.row_count for row, *_ in quarantined)
    summary.quarantined += quarantined_count
    summary.rows += sum(row.row_count for row in batch)
    summary.stored += sum(row.row_count for row in sent) - quarantined_count
    rejected += quarantined
    for row, reason, where, detail in sorted(rejected, key=lambda rejection: rejection[0].line):
        rejects.add(row, reason, where, detail)
        summary.reasons[reason] = summary.reasons.get(reason, 0) + row.row_count
        summary.first_by_reason.setdefault(reason, f"line {row.line}: {f'{where}: ' if where else ''}{detail}")


def _quarantine_detail(result: dict[str, Any]) -> str:
    """Return why the collector put a row into quarantine, as a sentence."""
    try:
        explanation = Reason(str(result.get("reason"))).explanation
    except ValueError:
        explanation = "The collector names a reason that this version does not know."
    return f"The row is in quarantine. {explanation}"
