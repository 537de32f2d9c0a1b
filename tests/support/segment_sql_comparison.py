"""Many histories in one ClickHouse, and streams of the same: who is in a segment at an instant, by each of the two."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import EVENT_STORE, LABELS
from runtime.bus.port import Record
from domain.segments.plan import Plan
from domain.segments.sql import computed_values, membership
from tests.support.random_definitions import definitions
from tests.support.segment_histories import Arrival, History, random_history
from tests.support.segment_stream import Stream
from tests.support.random_values import (BASES, DAY_MS, SPAN_DAYS, STEP_MS)

EARLIER, LATER = 2, 2
"""At so many instants while events still arrive the answers are compared, and at so many after that."""
SAMPLE = 20
"""Of so many histories the instants of change are asked for."""


class Batch:
    """Definitions, histories, and the instants at which the answers are compared, by a seed."""

    def __init__(self, seed: int, people: int = 200, segments: int = 24) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.base_ms = self.rng.choice(BASES)
        self.histories = [random_history(self.rng, f"b{seed}-{n}", self.base_ms) for n in range(people)]
        nodes = [node for history in self.histories for node in history.nodes]
        self.definitions = definitions(self.rng, self.base_ms, nodes, segments)
        self.plan = Plan(self.definitions)
        self.instants = self._instants()

    def streams(self) -> list["Running"]:
        """A stream for each history, at its beginning."""
        return [Running(history, Stream(self.plan, random.Random(self.seed))) for history in self.histories]

    def _instants(self) -> list[int]:
        """Two while events arrive, one when the last has, and later ones."""
        found = [self._step(self.base_ms + self.rng.randrange(DAY_MS, SPAN_DAYS * DAY_MS)) for _ in range(EARLIER)]
        running = self.streams()[:SAMPLE]
        found.append(max(history.arrivals[-1].at_ms for history in self.histories))
        while len(found) < EARLIER + LATER:
            for one in running:
                one.run(found[-1])
            found.append(max(found[-1] + 1, self._later(running, found[-1])))
        return sorted(set(found))

    def _later(self, running: Sequence["Running"], at_ms: int) -> int:
        """An instant at which much may change, one that a timer is set for, or any."""
        due = sorted({due for one in running for due in one.stream.due().values()})
        kind = self.rng.choice(("step", "step", "due", "any"))
        if kind == "step":
            return self._step(at_ms + self.rng.randrange(STEP_MS, 2 * DAY_MS))
        if kind == "due" and due:
            return self.rng.choice(due[: 1 + len(due) // 2]) + self._beside()
        return at_ms + self.rng.randrange(2 * DAY_MS)

    def _step(self, at_ms: int) -> int:
        return at_ms // STEP_MS * STEP_MS + self._beside()

    def _beside(self) -> int:
        return self.rng.choice((0, 0, 0, -1, 1))


@dataclass
class Running:
    """A stream in the course of its history."""

    history: History
    stream: Stream
    taken: int = 0

    def run(self, at_ms: int) -> None:
        """Take what arrives up to an instant, and come to rest."""
        while self.taken < len(self.history.arrivals) and self.history.arrivals[self.taken].at_ms <= at_ms:
            self.stream.take(self.history.arrivals[self.taken])
            self.taken += 1
        self.stream.pass_until(at_ms)
        self.stream.settle()


@dataclass(frozen=True)
class Answers:
    """What SQL says at an instant: the members of each segment, the values of each computed trait by profile."""

    at_ms: int
    inside: Mapping[str, set[str]]
    computed: Mapping[str, Mapping[str, Any]]


async def ask(batch: Batch, warehouse: Warehouse) -> list[Answers]:
    """SQL's answers at each instant, when ClickHouse holds what has arrived up to then."""
    for table in (EVENT_STORE, LABELS):
        await warehouse.command(f"TRUNCATE TABLE {table.name}")
    found, since = [], -1
    for at_ms in batch.instants:
        await load(batch, warehouse, since, at_ms)
        since = at_ms
        members, values = {}, {}
        for name in batch.plan.segments:
            query = membership(batch.plan, name, at_ms)
            members[name] = {row[0] for row in await warehouse.rows(query.sql, query.parameters)}
        for name in batch.plan.computed:
            query = computed_values(batch.plan, name, at_ms)
            values[name] = {row[0]: json.loads(row[1]) for row in await warehouse.rows(query.sql, query.parameters)}
        found.append(Answers(at_ms, members, values))
    return found


async def load(batch: Batch, warehouse: Warehouse, since_ms: int, until_ms: int) -> None:
    """Insert what arrived in between, as the consumers do."""
    events, labels = [], []
    for number, history in enumerate(batch.histories):
        for offset, arrival in enumerate(history.arrivals):
            if since_ms < arrival.at_ms <= until_ms:
                if arrival.event is not None:
                    events.append(rows.event(Record("events", number, offset, 0, None, None), arrival.event))
                labels += [(node, profile, offset + 1) for node, profile in (arrival.labels or {}).items()]
    batch.rng.shuffle(events)
    await warehouse.insert(EVENT_STORE, events)
    await warehouse.insert(LABELS, labels)


def compare(batch: Batch, asked: Sequence[Answers]) -> tuple[int, int]:
    """Holds the streams' answers against those of SQL: (verdicts compared, of a history each; those with a member).

    Raises AssertionError that tells all about the first difference.
    """
    compared = true = 0
    running = batch.streams()
    for answers in asked:
        for one in running:
            one.run(answers.at_ms)
            true += _compare_one(batch, one, answers)
            compared += len(answers.inside)
        known = {profile for one in running for profile in one.stream.documents}
        for name, said in (*answers.inside.items(), *answers.computed.items()):
            assert known.issuperset(said), (
                f"seed {batch.seed}, {name} at {answers.at_ms}: SQL knows profiles that the stream does not"
            )
    return compared, true


def _compare_one(batch: Batch, one: Running, answers: Answers) -> int:
    """Of one history; returns how many segments have a member."""
    stream, true = one.stream, 0
    for name, inside in answers.inside.items():
        mine, theirs = stream.inside(name), inside & stream.documents.keys()
        if mine != theirs:
            raise AssertionError(report(batch, one, name, answers.at_ms, f"stream {sorted(mine)}\nSQL {sorted(theirs)}"))
        true += bool(mine)
    for name, values in answers.computed.items():
        known = stream.computed(name)
        said = {profile: values[profile] for profile in stream.documents if profile in values}
        if not same(known, said):
            raise AssertionError(report(batch, one, name, answers.at_ms, f"stream {known}\nSQL {said}"))
    return true


def same(mine: Any, theirs: Any) -> bool:
    """Whether two JSON values are equal: true is not 1, but 1 is 1.0."""
    if isinstance(mine, dict):
        return isinstance(theirs, dict) and mine.keys() == theirs.keys() and all(same(mine[one], theirs[one]) for one in mine)
    if isinstance(mine, list | tuple):
        return isinstance(theirs, list) and len(mine) == len(theirs) and all(map(same, mine, theirs))
    return isinstance(mine, bool) is isinstance(theirs, bool) and bool(mine == theirs)


def report(batch: Batch, one: Running, name: str, at_ms: int, answers: str) -> str:
    """The definition, what happened, and both answers."""
    wanted = {name} | named_by(batch.plan, name)
    said = [
        document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for document in batch.definitions
        if document.metadata.name in wanted
    ]
    arrivals = "\n".join(shown(arrival, one.stream) for arrival in one.history.arrivals[: one.taken])
    return f"seed {batch.seed}, {name} at {at_ms}\n{yaml.safe_dump(said, allow_unicode=True)}\n{arrivals}\n{answers}"


def named_by(plan: Plan, name: str) -> set[str]:
    """The segments and computed traits that a segment's text names."""
    text = repr(plan.segments[name].spec) if name in plan.segments else ""
    return {one for one in (*plan.segments, *plan.computed) if one != name and one in text}


def shown(arrival: Arrival, stream: Stream) -> str:
    """An arrival on a line."""
    if arrival.event is None:
        return f"{arrival.at_ms} labels {arrival.labels}"
    one = arrival.event
    texts = " ".join(msgspec.json.encode(part).decode() for part in (one.properties, one.traits, one.context))
    profile = stream.profile_of(one.owner)
    return f"{arrival.at_ms} {one.time_ms} {one.label} {one.id} {one.owner} now {profile} {','.join(one.flags)} {texts}"
