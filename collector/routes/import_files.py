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

from collector import responses as answers, credentials as auth
from domain.intake.decide_calls import Accepted
from collector.body import Pass, read, unpack
from collector.pipeline import Desk
from domain.intake.envelope import Envelope
from domain.intake.context import Facts
from domain.intake.import_columns import ImportMapping, Kind
from domain.intake.import_rows import Row, encoding_of, rows
from collector.problems import Problem, Refusal
from domain.intake.parse import Rejected
from domain.definitions.kinds import Source

KINDS: Final = ("customers", "events")
MAX_LINES: Final = 20_000
SAID: Final = 100
"""How many of the rows that were not kept an answer names."""
_AT_ONCE: Final = 500
"""Rows between two waits for the broker: other requests are answered meanwhile."""


class Imports:
    """Their address."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def rows(self, request: Request) -> Response:
        """POST /v1/import/{customers|events}?timezone=&event=: CSV with a header, or JSONL."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            return answers.refused(Problem.NOT_FOUND, self._desk.cors.headers(request))
        path = cast("Literal['customers', 'events']", kind)
        return await self._desk.guarded(request, "import_rows", lambda taken, headers: self._take(request, path, taken, headers))

    async def _take(self, request: Request, kind: Kind, taken: Pass, headers: dict[str, str]) -> Response:
        desk = self._desk
        source = desk.known(auth.header_key(request.headers) or auth.bearer(request.headers))
        if source is None:
            raise Refusal(Problem.WRITE_KEY)
        desk.admit(request, source, 0, headers)
        mapping = _mapping(request)
        most = desk.settings.collector_max_body_bytes
        plain = unpack(await read(request, most, taken), most, taken)
        if plain is None:
            raise Refusal(Problem.GZIP)
        lines = max(plain.count(b"\n"), plain.count(b"\r")) + 1
        if lines > MAX_LINES:
            raise Refusal(Problem.TOO_MANY)
        desk.admit(request, source, lines, headers)
        encoding, errors = encoding_of(plain)
        text = io.StringIO(plain.decode(encoding, errors), newline="")
        return await self._keep(request, source, rows(kind, iter(text), mapping), headers)

    async def _keep(self, request: Request, source: Source, found: Iterator[Row], headers: dict[str, str]) -> Response:
        facts = self._desk.facts(request, source, self._desk.clock.now_ms())
        results: list[dict[str, Any]] = []
        count = accepted = 0
        while part := list(islice(found, _AT_ONCE)):
            decided = self._decided(part, facts)
            await self._desk.send(decided, source.metadata.name)
            results += [{**result, "index": count + result["index"]} for result in decided.results]
            count += len(part)
            accepted += sum(decided.types.values())
        said = {"success": True, "rows": count, "accepted": accepted, "quarantined": len(results), "results": results[:SAID]}
        return answers.json_response(said, 200, {**headers, answers.RESULT: answers.result(accepted, results)})

    def _decided(self, part: list[Row], facts: Facts) -> Accepted:
        """What becomes of some rows; results by their place among these, with their line."""
        accept, calls = (
            self._desk.accept,
            [(place, row.call) for place, row in enumerate(part) if not isinstance(row.call, Rejected)],
        )
        decided = accept.decide(Envelope([call for _, call in calls], None, None, {}), facts)
        if isinstance(decided, Problem):
            raise Refusal(decided)
        for result in decided.results:
            result["index"] = calls[result["index"]][0]
        for place, row in enumerate(part):
            if isinstance(row.call, Rejected):
                raw = row.raw.encode("utf-8", "surrogateescape")
                name = blake2b(raw, digest_size=16, person=b"import").hexdigest()
                record = accept.quarantined(raw, row.call, facts.source, facts.received_ms, f"import-{name}")
                decided.reject(record, row.call, place, None)
        decided.results = [{**result, "line": part[result["index"]].line} for result in decided.results]
        decided.results.sort(key=lambda result: result["line"])
        return decided


def _mapping(request: Request) -> ImportMapping:
    query = request.query_params
    event, zone = query.get("event"), query.get("timezone", "UTC")
    try:
        return ImportMapping.model_validate({"timezone": zone, "constants": {"event": event} if event else {}})
    except ValidationError as error:
        raise Refusal(Problem.QUERY) from error


def routes(desk: Desk) -> list[Route]:
    """The address of files."""
    return [Route("/v1/import/{kind}", Imports(desk).rows, methods=["POST", "OPTIONS"])]
