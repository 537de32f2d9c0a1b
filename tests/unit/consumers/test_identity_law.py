"""What the consumers write of random identity histories equals the store's labels, evidence and decisions."""

import random

import pytest

from consumers.batch import Feed
from consumers.feeds import IDENTITIES_FEED, LINKS_FEED
from domain.identity.model import Decision
from ops.rebuild.store_states import read_identity_from_redis
from tests.support.identity_histories import random_history, run_history
from tests.support.simulated_pipeline import Pipeline
from warehouse import rows
from warehouse.tables import DECISIONS, EVIDENCE, IDENTITIES, LABELS
from warehouse.writer import MemoryWriter

HISTORIES = 120


async def consume(pipeline: Pipeline, feed: Feed, rng: random.Random, writer: MemoryWriter) -> None:
    """Insert all records of a topic out of order and some of them twice, as after crashes and replays of the consumers."""
    said = [record for (topic, _), log in sorted(pipeline.logs.items()) if topic == feed.topic for record in log]
    said += rng.choices(said, k=len(said) // 2)
    rng.shuffle(said)
    while said:
        size = rng.randint(1, 5)
        batch, said = feed.decide(said[:size], pipeline.settings, 0), said[size:]
        assert not batch.quarantine
        for table, found in batch.rows.items():
            await writer.insert(table, found)


@pytest.mark.parametrize("part", range(4))
async def test_warehouse_labels_equal_store_labels(part: int) -> None:
    for seed in range(part, HISTORIES, 4):
        history = random_history(seed)
        pipeline = await run_history(history)
        writer = MemoryWriter()
        for feed in (LINKS_FEED, IDENTITIES_FEED):
            await consume(pipeline, feed, random.Random(seed), writer)
        labels = {node: profile_id for node, profile_id, _ in writer.rows(LABELS)}
        held = await pipeline.store.labels(history.nodes)
        assert {node: labels.get(node, node) for node in history.nodes} == {node: label.profile_id for node, label in held.items()}
        kept = await read_identity_from_redis(pipeline.store)
        assert writer.rows(EVIDENCE) == [rows.evidence_row(a, b, edge) for (a, b), edge in sorted(kept.edges.items())]
        register: dict[tuple[str, str, str], Decision] = {}
        for operation, _, kind, a, b, on, at_ms, *_ in writer.rows(DECISIONS):
            said = Decision(on, at_ms, operation)
            register[kind, a, b] = register.get((kind, a, b), said).join(said)
        assert register == kept.decisions
        assert kept.contradictions == 0
        latest = {name: (members, into) for name, _, members, into, *_ in writer.rows(IDENTITIES)}
        entries = await pipeline.store.members(sorted(latest))
        assert latest == {name: (list(entry.nodes), entry.merged_into) for name, entry in entries.items()}
