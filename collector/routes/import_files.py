"""Files of customers and past purchases as a request's body."""

import io
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, Literal, cast

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import credentials, responses
from collector.body import Permit, decompress_gzip, read_body
from collector.pipeline import RequestPipeline
from collector.problems import Problem, RequestRefused
from domain.definitions.kinds import Source
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import IntakeOutcome
from domain.intake.envelope import Envelope
from domain.intake.import_columns import ImportKind, ImportMapping
from domain.intake.import_rows import ImportRow, detect_encoding, read_rows
from domain.intake.parse import Rejection

IMPORT_KINDS: Final = ("customers", "events")
MAX_LINES: Final = 20_000
MAX_LISTED_ROWS: Final = 100
"""How many of the rows that were not kept an answer names."""
_ROWS_PER_PUBLISH: Final = 500
"""Rows between two waits for the broker: other requests are answered meanwhile."""


class ImportEndpoint:
    """Their address."""

    def __init__(self, pipeline: RequestPipeline) -> None:
        self._pipeline = pipeline

    async def post_rows(self, request: Request) -> Response:
        """POST /v1/import/{customers|events}?timezone=&event=: CSV with a header, or JSONL."""
        kind = request.path_params["kind"]
        if kind not in IMPORT_KINDS:
            return responses.refused_response(Problem.NOT_FOUND, self._pipeline.cors.headers(request))
        path = cast("Literal['customers', 'events']", kind)
        return await self._pipeline.handle(
            request, "import_rows", lambda taken, headers: self._handle(request, path, taken, headers)
        )

    async def _handle(self, request: Request, kind: ImportKind, permit: Permit, headers: dict[str, str]) -> Response:
        pipeline = self._pipeline
        source = pipeline.authenticate(credentials.basic_auth_key(request.headers) or credentials.bearer_token(request.headers))
        if source is None:
            raise RequestRefused(Problem.WRITE_KEY)
        pipeline.check_origin_and_rate(request, source, 0, headers)
        mapping = _mapping(request)
        max_bytes = pipeline.settings.collector_max_body_bytes
        content = decompress_gzip(await read_body(request, max_bytes, permit), max_bytes, permit)
        if content is None:
            raise RequestRefused(Problem.GZIP)
        lines = max(content.count(b"\n"), content.count(b"\r")) + 1
        if lines > MAX_LINES:
            raise RequestRefused(Problem.TOO_MANY)
        pipeline.check_origin_and_rate(request, source, lines, headers)
        encoding, errors = detect_encoding(content)
        text = io.StringIO(content.decode(encoding, errors), newline="")
        return await self._publish_rows(request, source, read_rows(kind, iter(text), mapping), headers)

    async def _publish_rows(self, request: Request, source: Source, rows: Iterator[ImportRow], headers: dict[str, str]) -> Response:
        intake_context = self._pipeline.intake_context(request, source, self._pipeline.clock.now_ms())
        rejections: list[dict[str, Any]] = []
        row_count = accepted = 0
        while chunk := list(islice(rows, _ROWS_PER_PUBLISH)):
            outcome = self._decide_chunk(chunk, intake_context)
            await self._pipeline.publish(outcome, source.metadata.name)
            rejections += [{**rejection, "index": row_count + rejection["index"]} for rejection in outcome.rejections]
            row_count += len(chunk)
            accepted += sum(outcome.accepted_by_type.values())
        answer = {
            "success": True,
            "rows": row_count,
            "accepted": accepted,
            "quarantined": len(rejections),
            "results": rejections[:MAX_LISTED_ROWS],
        }
        return responses.json_response(
            answer, 200, {**headers, responses.RESULT_HEADER: responses.result_header(accepted, rejections)}
        )

    def _decide_chunk(self, chunk: list[ImportRow], intake_context: IntakeContext) -> IntakeOutcome:
        """What becomes of some rows; results by their place among these, with their line."""
        intake, calls = (
            self._pipeline.intake,
            [(position, row.call) for position, row in enumerate(chunk) if not isinstance(row.call, Rejection)],
        )
        outcome = intake.decide(Envelope([call for _, call in calls], None, None, {}), intake_context)
        if isinstance(outcome, Problem):
            raise RequestRefused(outcome)
        for rejection in outcome.rejections:
            rejection["index"] = calls[rejection["index"]][0]
        for position, row in enumerate(chunk):
            if isinstance(row.call, Rejection):
                raw = row.raw.encode("utf-8", "surrogateescape")
                content_hash = blake2b(raw, digest_size=16, person=b"import").hexdigest()
                record = intake.quarantine_record(
                    raw, row.call, intake_context.source, intake_context.received_ms, f"import-{content_hash}"
                )
                outcome.add_rejection(record, row.call, position, None)
        outcome.rejections = [{**result, "line": chunk[result["index"]].line} for result in outcome.rejections]
        outcome.rejections.sort(key=lambda result: result["line"])
        return outcome


def _mapping(request: Request) -> ImportMapping:
    query = request.query_params
    event, zone = query.get("event"), query.get("timezone", "UTC")
    try:
        return ImportMapping.model_validate({"timezone": zone, "constants": {"event": event} if event else {}})
    except ValidationError as error:
        raise RequestRefused(Problem.QUERY) from error


def routes(pipeline: RequestPipeline) -> list[Route]:
    """The address of files."""
    return [Route("/v1/import/{kind}", ImportEndpoint(pipeline).post_rows, methods=["POST", "OPTIONS"])]
