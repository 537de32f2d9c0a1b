"""Segment's tracking API, and what RudderStack adds to it."""

from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector import responses as answers, credentials as auth
from domain.intake.decide_calls import Accepted, without_key
from collector.body import Pass, read, unpack
from collector.pipeline import Desk
from domain.intake.envelope import BATCHES, KINDS, envelope
from collector.problems import Problem, Refusal
from domain.intake.parse import Rejected
from domain.intake.values import Unparsable, loads
from schemas.reasons import Reason
from domain.definitions.kinds import Source

METRICS: Final = frozenset({"m", "metrics"})
_QUARANTINED: Final = {
    Problem.UNPARSABLE: Rejected(Reason.UNPARSABLE, "the body is not JSON in UTF-8"),
    Problem.NOT_AN_OBJECT: Rejected(Reason.NOT_AN_OBJECT, "the body must be an object"),
    Problem.NO_BATCH: Rejected(Reason.WRONG_TYPE, "the body must be an object with a list", "batch"),
}


class Tracking:
    """Its addresses."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def events(self, request: Request) -> Response:
        """POST /v1/{call}."""
        path = request.path_params["call"]
        if path in METRICS:
            return await self._desk.guarded(request, "metrics", _ignored)
        if path not in KINDS and path not in BATCHES:
            return answers.refused(Problem.NOT_FOUND, self._desk.cors.headers(request))
        key = auth.header_key(request.headers)
        return await self._desk.guarded(request, path, lambda taken, headers: self._take(request, path, key, taken, headers))

    async def beacon(self, request: Request) -> Response:
        """POST /beacon/v1/batch?writeKey=: browsers send it when a page goes away, and can set no header then."""
        key = request.query_params.get("writeKey") or auth.header_key(request.headers)
        return await self._desk.guarded(request, "beacon", lambda taken, headers: self._take(request, "batch", key, taken, headers))

    async def _take(self, request: Request, path: str, key: str | None, taken: Pass, headers: dict[str, str]) -> Response:
        desk = self._desk
        source = desk.known(key)
        if source is not None:
            desk.admit(request, source, 0, headers)
        raw = await read(request, desk.settings.collector_max_body_bytes, taken)
        judged = self._read(request, path, raw, source, taken, headers)
        del raw  # what waits for the broker holds its records alone, and not the body as bytes and as objects too
        return await self.keep(judged, headers)

    def _read(
        self, request: Request, path: str, raw: bytes, source: Source | None, taken: Pass, headers: dict[str, str]
    ) -> "Judged":
        desk = self._desk
        received_ms = desk.clock.now_ms()
        plain = unpack(raw, desk.settings.collector_max_body_bytes, taken)
        try:
            body = loads(plain) if plain is not None else None
        except Unparsable:
            plain = None
        if plain is None:
            source = source or desk.known(auth.bearer(request.headers))
            return self.unusable(request, Problem.UNPARSABLE, raw, source, received_ms, headers)
        source = source or desk.known(auth.body_key(body) or auth.bearer(request.headers))
        if source is None:
            raise Refusal(Problem.WRITE_KEY)
        return self.judge(request, path, body, plain, source, received_ms, headers)

    def judge(
        self, request: Request, path: str, body: Any, raw: bytes, source: Source, received_ms: int, headers: dict[str, str]
    ) -> "Judged":
        """What becomes of a decoded body, whose bytes are `raw`; raises Refusal."""
        desk = self._desk
        enclosed = envelope(path, body)
        if isinstance(enclosed, Problem):
            return self.unusable(request, enclosed, without_key(body, raw), source, received_ms, headers)
        desk.admit(request, source, min(len(enclosed.calls), desk.settings.collector_max_batch_events), headers)
        decided = desk.accept.decide(enclosed, desk.facts(request, source, received_ms))
        if isinstance(decided, Accepted):
            return Judged(source, decided)
        if decided not in _QUARANTINED:
            raise Refusal(decided)
        return self.unusable(request, decided, without_key(body, raw), source, received_ms, headers)

    def unusable(
        self, request: Request, problem: Problem, raw: bytes, source: Source | None, received_ms: int, headers: dict[str, str]
    ) -> "Judged":
        """A body that holds no calls counts as one event in quarantine, if a source has sent it."""
        if source is None:
            raise Refusal(problem)
        self._desk.admit(request, source, 1, headers)
        rejected, decided = _QUARANTINED[problem], Accepted()
        decided.reject(self._desk.accept.quarantined(raw, rejected, source.metadata.name, received_ms), rejected, 0, None)
        return Judged(source, decided, problem)

    async def keep(self, judged: "Judged", headers: dict[str, str]) -> Response:
        """Write it, then answer; raises Refusal."""
        decided = judged.decided
        await self._desk.send(decided, judged.source.metadata.name)
        if judged.problem is not None:
            return answers.refused(judged.problem, headers, decided.results)
        return answers.kept(decided.results, sum(decided.types.values()), headers)


@dataclass(frozen=True, slots=True)
class Judged:
    """A request that can be answered once `decided` is written: as kept, or with its problem."""

    source: Source
    decided: Accepted
    problem: Problem | None = None


async def _ignored(_: Pass, headers: dict[str, str]) -> Response:
    """What analytics.js says of itself is nothing that Onefold keeps."""
    return answers.json_response({"success": True, "results": []}, 200, headers)


def routes(desk: Desk) -> list[Route]:
    """Segment's addresses, and the beacon's."""
    tracking = Tracking(desk)
    return [
        Route("/v1/{call}", tracking.events, methods=["POST", "OPTIONS"]),
        Route("/beacon/v1/batch", tracking.beacon, methods=["POST", "OPTIONS"]),
    ]
