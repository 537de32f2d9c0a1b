"""Files of customers and past purchases, sent as a request's body: CSV with a header, or JSONL."""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses
from collector.body import decompress_gzip
from collector.context import CollectorParts, RequestContext
from collector.credentials import basic_auth_key, bearer_key
from collector.pipeline import (
    RequestStep,
    authenticate_by,
    charge_rate,
    check_origin,
    check_rate,
    intake_context_of,
    publish_outcome,
    read,
    require_source,
    require_trusted_source,
    serve,
)
from collector.problems import PROBLEM_OF_BODY, Problem, RequestRefused
from domain.intake.decide_rows import decide_rows
from domain.intake.import_columns import ImportKind, ImportMapping
from domain.intake.import_lines import SIGNATURE_BYTES, FileRefused, detect_encoding, require_text
from domain.intake.import_orders import ImportRow
from domain.intake.import_rows import read_rows
from domain.intake.rejection import BodyProblem

IMPORT_KINDS: Final[tuple[ImportKind, ...]] = ("customers", "events")
MAX_LINES: Final = 20_000
MAX_LISTED_ROWS: Final = 100
"""How many of the rows in quarantine an answer names."""
_ROWS_PER_PUBLISH: Final = 500
"""How many rows are decided between two waits for the broker. Other requests are answered during the waits."""


def read_mapping(_: CollectorParts, context: RequestContext) -> RequestContext:
    """Read from the query how the columns are read. This comes before the body is read, so that a mistake costs no upload."""
    query = context.request.query_params
    event, zone = query.get("event"), query.get("timezone", "UTC")
    try:
        mapping = ImportMapping.model_validate({"timezone": zone, "constants": {"event": event} if event else {}})
    except ValidationError as error:
        raise RequestRefused(Problem.QUERY) from error
    return replace(context, mapping=mapping)


def decompress(parts: CollectorParts, context: RequestContext) -> RequestContext:
    """Decompress the file, refuse one that is no text, and count its lines, each of which is charged as an event."""
    content = decompress_gzip(context.raw, parts.settings.collector_max_body_bytes, context.permit)
    if content is None:
        raise RequestRefused(Problem.GZIP)
    try:
        require_text(content[:SIGNATURE_BYTES])
    except FileRefused as error:
        raise RequestRefused(Problem.FILE, message=f"The file was not imported: {error}.") from error
    line_count = max(content.count(b"\n"), content.count(b"\r")) + 1
    if line_count > MAX_LINES:
        raise RequestRefused(Problem.TOO_MANY)
    return replace(context, raw=content, event_count=line_count)


def publish_rows(kind: ImportKind) -> RequestStep:
    """Return a step that decides on the rows and publishes them in chunks, then answers.

    When the broker refuses a chunk, the chunks before it are durable. The client sends the whole file again: message ids are made
    of the content, so those rows are duplicates.
    """

    async def publish_chunks(parts: CollectorParts, context: RequestContext) -> RequestContext:
        encoding, errors = detect_encoding(context.raw)
        lines = io.StringIO(context.raw.decode(encoding, errors), newline="")
        intake_context = intake_context_of(parts, context)
        rows = read_rows(kind, iter(lines), context.mapping, now_ms=intake_context.received_ms)
        rejections: list[dict[str, Any]] = []
        row_count = accepted = 0
        while chunk := _next_chunk(rows):
            outcome = decide_rows(parts.intake, chunk, intake_context)
            if isinstance(outcome, BodyProblem):
                raise RequestRefused(PROBLEM_OF_BODY[outcome])
            await publish_outcome(parts, outcome, intake_context.source)
            rejections += [{**rejection, "index": row_count + rejection["index"]} for rejection in outcome.rejections]
            row_count += len(chunk)
            accepted += outcome.accepted
        content = {
            "success": True,
            "rows": row_count,
            "accepted": accepted,
            "quarantined": len(rejections),
            "results": rejections[:MAX_LISTED_ROWS],
        }
        headers = {**context.headers, responses.RESULT_HEADER: responses.result_header(accepted, rejections)}
        return replace(context, response=responses.json_response(content, 200, headers))

    return publish_chunks


def _next_chunk(rows: Iterator[ImportRow]) -> list[ImportRow]:
    """Return the next rows. Raises RequestRefused when the file as a whole cannot be imported, which shows before its first row."""
    try:
        return list(islice(rows, _ROWS_PER_PUBLISH))
    except FileRefused as error:
        raise RequestRefused(Problem.FILE, message=f"The file was not imported: {error}.") from error


IMPORT_STEPS: Final[dict[str, tuple[RequestStep, ...]]] = {
    kind: (
        authenticate_by(basic_auth_key, bearer_key),
        require_source,
        require_trusted_source,
        check_origin,
        check_rate,
        read_mapping,
        read,
        decompress,
        charge_rate,
        publish_rows(kind),
    )
    for kind in IMPORT_KINDS
}
"""The steps by the kind of file that the address names."""


def routes(parts: CollectorParts) -> list[Route]:
    """Return the route of files: `/v1/import/{customers|events}?timezone=&event=`."""

    async def post_rows(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in IMPORT_STEPS:
            return responses.refused_response(Problem.NOT_FOUND, parts.cors.headers(request))
        return await serve(parts, request, "import_rows", IMPORT_STEPS[kind])

    return [Route("/v1/import/{kind}", post_rows, methods=["POST", "OPTIONS"])]
