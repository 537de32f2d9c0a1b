"""Evidence, decisions and who a profile consists of, on a real ClickHouse engine: equal to the twin, to the joins and to the labels."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from profile_store import evidence
from profile_store.evidence import Decisions, Edges
from profile_store.port import DAY_MS, Decision, Edge
from profile_store.warehouse import reads, rows
from profile_store.warehouse.client import Warehouse
from profile_store.warehouse.migrate import migrate
from profile_store.warehouse.tables import DECISIONS, EVENT_STORE, EVIDENCE, IDENTITIES, LABELS, PROFILES, Table
from profile_store.warehouse.writer import ClickHouseWriter, MemoryWriter, Writer
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.records import Decided, DecidedAction, Identity, Link, LinkRecord, Look, Profile
from tests.support.events import event

pytestmark = pytest.mark.clickhouse
RECORD = Record("onefold.links", 0, 0, 0, None, None)
NAMES = ("", "a", "ạ", "đ", "m1", "Nguyễn", "\U0001f600", "\uffff")
PAIRS = (("0a", "2b"), ("0a", "3c"), ("2b", "3c"))


def links(rng: random.Random, count: int) -> list[LinkRecord]:
    """Evidence with every tie: few instants around few days, few names."""

    def instant() -> int:
        return rng.choice((-3, 0, 20_000)) * DAY_MS + rng.choice((-1, 0, 1, DAY_MS - 1))

    found: list[LinkRecord] = []
    for _ in range(count):
        a, b = rng.choice(PAIRS)
        first, last = instant(), instant()
        found.append(
            Link(
                a=a, b=b, first_ms=first, first_event=rng.choice(NAMES), last_ms=last, last_event=rng.choice(NAMES),
                source=rng.choice(NAMES), owner=rng.choice(NAMES), rule=rng.choice(("together", "alias")), rules=rng.choice(NAMES),
            )
        )  # fmt: skip
    return found


def decisions(rng: random.Random, count: int) -> list[LinkRecord]:
    """Decisions with every tie, the same operation said with other words among them."""
    found: list[LinkRecord] = []
    for _ in range(count):
        action: DecidedAction = rng.choice(("cut", "split", "undo"))
        found.append(
            Decided(
                operation=f"o{rng.randrange(4)}",
                action=action,
                pairs=tuple((rng.choice(("cut", "apart")), *rng.choice(PAIRS)) for _ in range(2)),
                on=rng.random() < 0.5,
                at_ms=rng.choice((-5, 0, 1_750_000_000_000)),
                of=rng.choice(NAMES),
                by="Ánh",
                reason="máy tính bảng dùng chung",
            )
        )
    return found


def identities(rng: random.Random, count: int) -> list[Identity]:
    return [
        Identity(
            profile_id=(name := rng.choice(("0a", "2b", "3c"))),
            members=tuple(rng.sample(("0a", "2b", "3c"), rng.randrange(4))),
            label_version=version,
            merged_into="" if name == "0a" else "0a",
            split_from=rng.choice(NAMES),
            cause=rng.choice(NAMES),
            at_ms=version,
        )
        for version in range(1, count + 1)
    ]


async def held(warehouse: Warehouse, table: Table) -> list[tuple[Any, ...]]:
    names = ", ".join(f"`{column.name}`" for column in table.columns)
    found = await warehouse.rows(f"SELECT {names} FROM {table.name} FINAL")  # noqa: S608 - a table's own name
    return sorted(tuple(row) for row in found)


async def take(writer: Writer, said: Sequence[LinkRecord | Identity]) -> None:
    """What the consumers insert of these records."""
    for record in said:
        if isinstance(record, Identity):
            await writer.insert(LABELS, rows.labels(RECORD, record))
            await writer.insert(IDENTITIES, rows.identity(RECORD, record))
        else:
            await writer.insert(EVIDENCE, rows.link(RECORD, record))
            await writer.insert(DECISIONS, rows.decided(RECORD, record))


@pytest.mark.parametrize("seed", range(4))
async def test_rows_in_any_order_and_number_are_the_joins(warehouse: Warehouse, seed: int) -> None:
    rng = random.Random(seed)
    said: list[LinkRecord] = [*links(rng, 40), *decisions(rng, 20), Look(nodes=("0a",), number=3)]
    edges: Edges = {}
    register: Decisions = {}
    for record in said:
        if isinstance(record, Link):
            evidence.add(edges, (record.a, record.b), evidence.of_link(record))
        elif isinstance(record, Decided):
            evidence.decide(register, record)
    shuffled = [*said, *rng.choices(said, k=20)]
    rng.shuffle(shuffled)
    await take(ClickHouseWriter(warehouse), shuffled)
    assert {(a, b): Edge(*rest) for a, b, *rest in await reads.ask(warehouse, "evidence")} == edges
    found = {(kind, a, b): Decision(*rest) for kind, a, b, *rest in await reads.ask(warehouse, "decisions")}
    assert found == register
    await warehouse.command("OPTIMIZE TABLE evidence_store FINAL")
    assert {(a, b): Edge(*rest) for a, b, *rest in await reads.ask(warehouse, "evidence")} == edges
    twin = MemoryWriter()
    await twin.insert(EVIDENCE, [rows.evidence_row(a, b, edge) for (a, b), edge in edges.items()])
    assert await held(warehouse, EVIDENCE) == twin.rows(EVIDENCE)
