"""Compares segment members by stream and by SQL, for many histories in one ClickHouse and at several instants."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import SegmentPlan
from domain.segments.sql.compile import computed_values_query, membership_query
from runtime.bus.port import Record
from tests.support.random_definitions import random_definitions
from tests.support.random_values import BASES, DAY_MS, SPAN_DAYS, STEP_MS
from tests.support.segment_histories import Arrival, RandomSegmentHistory, random_history
from tests.support.segment_stream import SegmentStream
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import EVENT_STORE, LABELS

EARLIER, LATER = 2, 2
"""At so many instants while events still arrive the answers are compared, and at so many after that."""
SAMPLE = 20
"""Of so many histories the instants of change are asked for."""


class ComparisonBatch:
    """Random definitions and histories by a seed, and the instants at which the answers are compared."""

    def __init__(self, seed: int, people: int = 200, segments: int = 24) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.base_ms = self.rng.choice(BASES)
        self.histories = [random_history(self.rng, f"b{seed}-{n}", self.base_ms) for n in range(people)]
        nodes = [node for history in self.histories for node in history.nodes]
        self.definitions = random_definitions(self.rng, self.base_ms, nodes, segments)
        self.plan = segment_plan_of(self.definitions)
        self.instants = self._instants()

    def streams(self) -> list["StreamReplay"]:
        """Return a stream for each history, at its beginning."""
        return [StreamReplay(history, SegmentStream(self.plan, random.Random(self.seed))) for history in self.histories]

    def _instants(self) -> list[int]:
        """Return some instants while events arrive, one when the last has arrived, and later ones."""
        instants = [self._step(self.base_ms + self.rng.randrange(DAY_MS, SPAN_DAYS * DAY_MS)) for _ in range(EARLIER)]
        replays = self.streams()[:SAMPLE]
        instants.append(max(history.arrivals[-1].at_ms for history in self.histories))
        while len(instants) < EARLIER + LATER:
            for replay in replays:
                replay.advance_to(instants[-1])
            instants.append(max(instants[-1] + 1, self._later_instant(replays, instants[-1])))
        return sorted(set(instants))

    def _later_instant(self, replays: Sequence["StreamReplay"], at_ms: int) -> int:
        """Return an instant at which much may change, one for which a timer is set, or any."""
        due = sorted({due for replay in replays for due in replay.stream.due().values()})
        kind = self.rng.choice(("step", "step", "due", "any"))
        if kind == "step":
            return self._step(at_ms + self.rng.randrange(STEP_MS, 2 * DAY_MS))
        if kind == "due" and due:
            return self.rng.choice(due[: 1 + len(due) // 2]) + self._jitter_ms()
        return at_ms + self.rng.randrange(2 * DAY_MS)

    def _step(self, at_ms: int) -> int:
        return at_ms // STEP_MS * STEP_MS + self._jitter_ms()

    def _jitter_ms(self) -> int:
        return self.rng.choice((0, 0, 0, -1, 1))


@dataclass
class StreamReplay:
    """A stream that replays its history."""

    history: RandomSegmentHistory
    stream: SegmentStream
    applied_count: int = 0

    def advance_to(self, at_ms: int) -> None:
        """Apply the arrivals up to an instant, and evaluate what is due by then."""
        while self.applied_count < len(self.history.arrivals) and self.history.arrivals[self.applied_count].at_ms <= at_ms:
            self.stream.apply_arrival(self.history.arrivals[self.applied_count])
            self.applied_count += 1
        self.stream.advance_to(at_ms)
        self.stream.settle()


@dataclass(frozen=True)
class SqlAnswers:
    """SQL's answers at an instant: the members of each segment, and the values of each computed trait by profile."""

    at_ms: int
    inside: Mapping[str, set[str]]
    computed: Mapping[str, Mapping[str, Any]]


async def query_sql(batch: ComparisonBatch, warehouse: Warehouse) -> list[SqlAnswers]:
    """Return SQL's answers at each instant, when ClickHouse contains what has arrived until then."""
    for table in (EVENT_STORE, LABELS):
        await warehouse.command(f"TRUNCATE TABLE {table.name}")
    answers, since = [], -1
    for at_ms in batch.instants:
        await load(batch, warehouse, since, at_ms)
        since = at_ms
        members, values = {}, {}
        for name in batch.plan.segments:
            query = membership_query(batch.plan, name, at_ms)
            members[name] = {row[0] for row in await warehouse.query(query.sql, query.parameters)}
        for name in batch.plan.computed:
            query = computed_values_query(batch.plan, name, at_ms)
            values[name] = {row[0]: json.loads(row[1]) for row in await warehouse.query(query.sql, query.parameters)}
        answers.append(SqlAnswers(at_ms, members, values))
    return answers


async def load(batch: ComparisonBatch, warehouse: Warehouse, since_ms: int, until_ms: int) -> None:
    """Insert what arrived in between, as the consumers do."""
    events, labels = [], []
    for number, history in enumerate(batch.histories):
        for offset, arrival in enumerate(history.arrivals):
            if since_ms < arrival.at_ms <= until_ms:
                if arrival.event is not None:
                    events.append(rows.event_row(Record("events", number, offset, 0, None, None), arrival.event))
                labels += [(node, profile, offset + 1) for node, profile in (arrival.labels or {}).items()]
    batch.rng.shuffle(events)
    await warehouse.insert(EVENT_STORE, events)
    await warehouse.insert(LABELS, labels)


def compare_answers(batch: ComparisonBatch, sql_answers: Sequence[SqlAnswers]) -> tuple[int, int]:
    """Compare the streams' answers with those of SQL.

    Returns how many verdicts were compared, one for each history, and how many of them have a member.
    Raises AssertionError that describes the first difference.
    """
    compared = with_members = 0
    replays = batch.streams()
    for answers in sql_answers:
        for replay in replays:
            replay.advance_to(answers.at_ms)
            with_members += _compare_replay(batch, replay, answers)
            compared += len(answers.inside)
        known_profiles = {profile for one in replays for profile in one.stream.documents}
        for name, profiles in (*answers.inside.items(), *answers.computed.items()):
            assert known_profiles.issuperset(profiles), (
                f"seed {batch.seed}, {name} at {answers.at_ms}: SQL knows profiles that the stream does not"
            )
    return compared, with_members


def _compare_replay(batch: ComparisonBatch, replay: StreamReplay, answers: SqlAnswers) -> int:
    """Compare the answers for one history; return how many segments have a member."""
    stream, with_members = replay.stream, 0
    for name, inside in answers.inside.items():
        streamed_members, queried_members = stream.segment_members(name), inside & stream.documents.keys()
        if streamed_members != queried_members:
            raise AssertionError(
                describe_difference(
                    batch, replay, name, answers.at_ms, f"stream {sorted(streamed_members)}\nSQL {sorted(queried_members)}"
                )
            )
        with_members += bool(streamed_members)
    for name, values in answers.computed.items():
        streamed_values = stream.computed(name)
        queried_values = {profile: values[profile] for profile in stream.documents if profile in values}
        if not equal_json(streamed_values, queried_values):
            raise AssertionError(
                describe_difference(batch, replay, name, answers.at_ms, f"stream {streamed_values}\nSQL {queried_values}")
            )
    return with_members


def equal_json(mine: Any, theirs: Any) -> bool:
    """Return whether two JSON values are equal, where true is not 1 but 1 is 1.0."""
    if isinstance(mine, dict):
        return isinstance(theirs, dict) and mine.keys() == theirs.keys() and all(equal_json(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, list | tuple):
        return isinstance(theirs, list) and len(mine) == len(theirs) and all(map(equal_json, mine, theirs))
    return isinstance(mine, bool) is isinstance(theirs, bool) and bool(mine == theirs)


def describe_difference(batch: ComparisonBatch, replay: StreamReplay, name: str, at_ms: int, answers: str) -> str:
    """Describe a difference by the definitions involved, the history until then, and both answers."""
    relevant_names = {name} | named_by(batch.plan, name)
    documents = [
        document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for document in batch.definitions
        if document.metadata.name in relevant_names
    ]
    arrivals = "\n".join(describe_arrival(arrival, replay.stream) for arrival in replay.history.arrivals[: replay.applied_count])
    return f"seed {batch.seed}, {name} at {at_ms}\n{yaml.safe_dump(documents, allow_unicode=True)}\n{arrivals}\n{answers}"


def named_by(plan: SegmentPlan, name: str) -> set[str]:
    """Return the segments and computed traits that a segment refers to."""
    text = repr(plan.segments[name]) if name in plan.segments else ""
    return {candidate for candidate in (*plan.segments, *plan.computed) if candidate != name and candidate in text}


def describe_arrival(arrival: Arrival, stream: SegmentStream) -> str:
    """Describe an arrival in one line."""
    if arrival.event is None:
        return f"{arrival.at_ms} labels {arrival.labels}"
    event = arrival.event
    texts = " ".join(msgspec.json.encode(part).decode() for part in (event.properties, event.traits, event.context))
    profile = stream.profile_of(event.owner)
    return f"{arrival.at_ms} {event.time_ms} {event.label} {event.id} {event.owner} now {profile} {','.join(event.flags)} {texts}"
