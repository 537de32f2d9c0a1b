"""Arbitrary records on every topic: no step and no feed raises, every record is accounted for, every row fits its table."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from activation.retry_log import RetryLog
from activation.schedule import Schedule
from consumers.events import EVENTS_FEED
from consumers.feeds import FEEDS
from domain.identity.rules import DEFAULT_RULES
from domain.intake.admission import Admission
from domain.segments.plan import SegmentPlan
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition
from runtime.bus.port import Partition, Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import Undecodable, encode
from schemas.records import (
    Delivery,
    GroupKind,
    GroupRecord,
    Identity,
    Link,
    LinkDecision,
    Profile,
    QuarantineRecord,
    ReclusterRequest,
    Touched,
    TraitValue,
    Transition,
    WaitingDelivery,
)
from streams.step import Step
from streams.steps.accept import AcceptStep
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.fuzz import definitions, values
from tests.fuzz.http import broken
from tests.support.events import event
from warehouse.tables import LEDGER, Table

NOW_MS: Final = 1_750_000_000_000
ROUND: Final = 4_000
_WIDTH: Final = re.compile(r"(U?)Int(8|16|32|64)")


def _node(rng: random.Random) -> str:
    return f"{rng.randrange(30):032x}"


def _event(rng: random.Random) -> msgspec.Struct:
    return event(
        {"user_id": f"u{rng.randrange(20)}", "email": f"an{rng.randrange(9)}@shop.vn"},
        id=f"m{rng.randrange(500)}", name="Order Completed", properties={"total": 3}, time_ms=NOW_MS - rng.randrange(10**9),
    )  # fmt: skip


def _links(rng: random.Random) -> msgspec.Struct:
    a, b = sorted((_node(rng), _node(rng)))
    return rng.choice(
        (
            Link(a=a, b=b, first_ms=NOW_MS, first_event="m1", last_ms=NOW_MS, last_event="m2", source="default", owner=a),
            LinkDecision(operation="op-1", action="cut", pairs=(("cut", a, b),), on=True, at_ms=NOW_MS, by="lan", reason="nhầm"),
            ReclusterRequest(nodes=(a, b), rules_number=3),
        )
    )


def _profile(rng: random.Random) -> msgspec.Struct:
    node = _node(rng)
    return Profile(
        profile_id=node, members=(node,), label_version=1, identifiers=(("user_id", "u1"),), traits={"name": "Ánh"},
        counters={"Order": 1}, first_seen_ms=NOW_MS, last_seen_ms=NOW_MS, segments=("vip",), updated_ms=NOW_MS,
    )  # fmt: skip


def _transition(rng: random.Random) -> Transition:
    return Transition(
        profile_id=_node(rng),
        segment="vip",
        segment_version="1",
        op="entered",
        seq=1,
        at_ms=NOW_MS,
        evaluated_ms=NOW_MS,
        cause="event",
        traits={},
    )


def _group(rng: random.Random) -> msgspec.Struct:
    kind: GroupKind = rng.choice(("account", "household"))
    return GroupRecord(
        group_id=f"{kind[0]}{_node(rng)[1:]}", kind=kind, name="công-ty", profile_id=_node(rng),
        seq=rng.randrange(9), max_members=8, traits={"plan": TraitValue("pro", NOW_MS, "m1", rng.random() < 0.5)},
        counters={"Order": 1}, at_ms=NOW_MS,
    )  # fmt: skip


def _delivery(rng: random.Random) -> msgspec.Struct:
    return Delivery(
        key="k", destination="crm", profile_id=_node(rng), segment="vip", op="entered", seq=1, state="delivered", verdict="sent",
        attempts=1, status=200, detail="", transition_ms=NOW_MS, at_ms=NOW_MS,
    )  # fmt: skip


def _waiting_delivery(rng: random.Random) -> msgspec.Struct:
    return WaitingDelivery(
        key=f"k{rng.randrange(9)}", destination="crm", transition=_transition(rng), offset=rng.randrange(99), attempts=1,
        since_ms=NOW_MS, due_ms=NOW_MS,
    )  # fmt: skip


def _quarantined_record(rng: random.Random) -> msgspec.Struct:
    return QuarantineRecord(
        id=f"q{rng.randrange(99)}", stage="collector", reason="poison", detail="", source="default", topic="", partition=-1,
        offset=-1, raw="e30=", at_ms=NOW_MS, counted=True,
    )  # fmt: skip


MAKERS: Final[Mapping[str, Callable[[random.Random], msgspec.Struct]]] = {
    "events": _event,
    "links": _links,
    "identities": lambda rng: Identity(profile_id=_node(rng), members=(_node(rng),), label_version=1, at_ms=NOW_MS),
    "touched": lambda rng: Touched(profile_id=_node(rng), node=_node(rng), cause="event", event_id="m1", at_ms=NOW_MS),
    "profiles": _profile,
    "memberships": _transition,
    "groups": _group,
    "deliveries": _delivery,
    "retries": _waiting_delivery,
    "quarantine": _quarantined_record,
}


def value_for(rng: random.Random, topic: str) -> bytes | None:
    """Return bytes for a record of a topic: valid, with a few fields changed, of another topic, or None."""
    kind = rng.random()
    if kind < 0.02:
        return None
    if topic == "touchpoints":
        return _touchpoint(rng)
    made = MAKERS[topic](rng) if kind < 0.95 else rng.choice(list(MAKERS.values()))(rng)
    if kind < 0.15:
        return encode(made)
    if kind < 0.55:
        return values.written(rng, values.reworded(rng, orjson.loads(encode(made))))
    changed = values.mutated(rng, orjson.loads(encode(made)))
    if isinstance(changed, dict) and rng.random() < 0.3:
        changed[rng.choice(list(changed) or ["version"])] = rng.choice(values.NUMBERS)
    return values.written(rng, changed)


def record_for(rng: random.Random, settings: Settings, topic: str, offset: int) -> Record:
    """Return a record of a topic with any value, any key and any headers."""
    key = (
        None
        if rng.random() < 0.5
        else rng.choice((b"", b"\xff\xfe", b"\x00", b"k" * 60_000, _node(rng).encode(), rng.randbytes(20)))
    )
    headers = tuple(
        (rng.choice(("", "source", "\ud800", "phiên")), rng.randbytes(rng.randint(0, 9))) for _ in range(rng.choice((0, 0, 2)))
    )
    if topic == "definitions":
        key, value = definitions.record(rng)
    else:
        value = value_for(rng, topic)
    return Record(settings.topic(topic), 0, offset, NOW_MS, key, value, headers)


def _touchpoint(rng: random.Random) -> bytes:
    lines = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        call = values.call(rng)
        lines.append(values.written(rng, values.mutated(rng, call) if rng.random() < 0.8 else call))
    return rng.choice((b"\n", b"\n", b"\r\n", b"\n\n")).join(lines)


@dataclass
class FuzzedStage:
    """A step with a store of its own; its decisions are saved as a worker would save them."""

    step: Step
    store: MemoryStore | None
    offset: int = 0

    async def turn(self, rng: random.Random, settings: Settings, count: int) -> Counter[str]:
        topic = self.step.topic
        records = [record_for(rng, settings, topic, self.offset + number) for number in range(count)]
        made = [record.value for record in records]
        place = TopicPartition(topic, 0, 1)
        try:
            outcome = await self.step.run(place, records, NOW_MS)
            if self.store is not None:
                await self.store.save(place, outcome.expected, records[-1].offset + 1, outcome.writes)
        except Exception as error:
            raise broken(f"step {self.step.name} raises {error!r}", made) from error
        self.offset += count
        held = sum(out.topic == settings.topic("quarantine") for out in outcome.produce)
        if topic == "events":
            self._booked(records, held, settings, made)
        self._account(topic, count, held, outcome.results, len(outcome.produce), made)
        return Counter({f"{self.step.name} quarantined": held, f"{self.step.name} records": count})

    @staticmethod
    def _booked(records: Sequence[Record], held: int, settings: Settings, made: object) -> None:
        """Check that the ledger gives each event the outcome that the step gave it; otherwise the account would not balance."""
        ledger = EVENTS_FEED.decide(records, settings, NOW_MS).rows[LEDGER]
        booked = sum(row[LEDGER.column_index("outcome")] == "quarantined" for row in ledger)
        if booked != held:
            raise broken(f"{held} events quarantined, but {booked} booked as that", made)

    @staticmethod
    def _account(topic: str, count: int, held: int, results: Counter[str], said: int, made: object) -> None:
        if results["quarantined"] != held:
            raise broken(f"{topic}: {results['quarantined']} counted as quarantined, {held} written", made)
        if topic == "events" and results["stored"] + results["duplicate"] + held != count:
            raise broken(f"of {count} events {dict(results)} are accounted for", made)
        if topic == "touchpoints" and (results["accepted"] + held != said or said < count):
            raise broken(f"of {count} touchpoints {dict(results)} are accounted for", made)


def stages(settings: Settings) -> list[FuzzedStage]:
    """Return every step with an empty store."""
    made = []
    plan, clock = SegmentPlan(), ManualClock(NOW_MS)
    for kind in (UnifyStep, SegmentStep, GroupStep):
        store = MemoryStore(clock)
        made.append(FuzzedStage(kind(settings, store, lambda: plan, lambda: DEFAULT_RULES), store))
    store = MemoryStore(clock)
    made.append(FuzzedStage(LinkStep(settings, store, lambda: DEFAULT_RULES), store))
    made.append(FuzzedStage(AcceptStep(settings, lambda: {"pos": "public"}, Admission().admit), None))
    return made


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Give `inputs` records to steps and feeds; raises InvariantBroken.

    Returns how many records there were, and how many of them were quarantined.
    """
    seen: Counter[str] = Counter()
    rng, settings = random.Random(seed), Settings()
    done = 0
    while done < inputs:
        every = stages(settings)
        for _ in range(ROUND):
            if done >= inputs:
                break
            count = min(rng.choice((1, 1, 4, 16)), inputs - done)
            kind = rng.random()
            if kind < 0.55:
                seen += await rng.choice(every).turn(rng, settings, count)
            elif kind < 0.95:
                seen += fed(rng, settings, count)
            else:
                seen += retried(rng, settings, count)
            done += count
    return seen


def fed(rng: random.Random, settings: Settings, count: int) -> Counter[str]:
    """Give records to one of the consumers' feeds; check that each becomes rows that fit their tables, or is quarantined."""
    feed = rng.choice(FEEDS)
    records = [record_for(rng, settings, feed.topic, number) for number in range(count)]
    made = [record.value for record in records]
    try:
        batch = feed.decide(records, settings, NOW_MS)
    except Exception as error:
        raise broken(f"feed {feed.topic} raises {error!r}", made) from error
    for table, found in batch.rows.items():
        for row in found:
            if (wrong := misfit(table, row)) is not None:
                raise broken(f"feed {feed.topic}: {wrong}", made)
    if feed.topic == "events" and sum(len(found) for table, found in batch.rows.items() if table.name == "ledger") != count:
        raise broken("not every event has its row in the ledger", made)
    return Counter({f"feed {feed.topic} quarantined": len(batch.quarantine), f"feed {feed.topic} records": count})


def retried(rng: random.Random, settings: Settings, count: int) -> Counter[str]:
    """Give records of `retries` to the log of a destination: each is taken in or is no record, and none stops the worker."""
    schedule = Schedule()
    log = RetryLog(settings, "crm", schedule, 1)
    log.markers(frozenset({Partition(log.topic, 0)}))
    unreadable = 0
    for offset in range(count):
        record = record_for(rng, settings, "retries", offset)
        try:
            log.apply(record)
        except Undecodable:
            unreadable += 1
        except Exception as error:
            raise broken(f"the log of retries raises {error!r}", record) from error
    return Counter({"retries unreadable": unreadable, "retries records": count})


def misfit(table: Table, row: Sequence[Any]) -> str | None:
    """Return which column's type cannot store its value, or None if the row fits.

    A row that does not fit would stop its consumer for ever.
    """
    if len(row) != len(table.columns):
        return f"{table.name} has {len(table.columns)} columns, the row {len(row)}"
    for column, held in zip(table.columns, row, strict=True):
        for kind, number in _numbers(column.type, held):
            signed, bits = kind
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            if not low <= number <= high:
                return f"{table.name}.{column.name} {column.type} cannot hold {number}"
    return None


def _numbers(kind: str, held: Any) -> list[tuple[tuple[bool, int], int]]:
    """Return the integers in a column's value, each with the sign and the width in bits that it must fit into."""
    if kind.startswith("Map(") and isinstance(held, dict):
        inner = kind.removeprefix("Map(String, ").removesuffix(")")
        return [found for one in held.values() for found in _numbers(inner, one)]
    if kind.startswith("Tuple(") and isinstance(held, tuple) and "(" not in kind.removeprefix("Tuple("):
        parts = kind.removeprefix("Tuple(").removesuffix(")").split(", ")
        return [found for part, one in zip(parts, held, strict=True) for found in _numbers(part.split(" ")[-1], one)]
    width = _WIDTH.fullmatch(kind)
    return [((width[1] != "U", int(width[2])), held)] if width is not None and isinstance(held, int) else []
