"""A flood of names from a public key: thousands of traits with long names of one customer, on the agents as they run."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from domain.definitions.kinds import load_yaml
from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeLimits, IntakeOutcome
from domain.intake.envelope import parse_envelope
from domain.profiles.bounds import MAX_COUNTERS, MAX_IDENTIFIERS, MAX_TRAITS
from domain.profiles.fragment import decode_fragment
from ops import definitions_topic
from ops.prepare import create_topics
from profile_store.memory import MemoryStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Record
from runtime.bus.record_limits import MAX_RECORD_BYTES
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import Profile
from streams.metrics import METRICS
from streams.testing import run_streams
from tests.support.flood_of_names import BODY_BYTES, NAMES_PER_CALL, flood

SEGMENTS: Final = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: hue}
spec: {where: {trait: {path: thành_phố, value: Huế}}}
"""


def decided(settings: Settings, clock: ManualClock, body: bytes) -> IntakeOutcome:
    """Return what the collector decides about a body."""
    intake = CallIntake(
        IntakeLimits(settings.collector_max_batch_events, settings.collector_max_event_bytes, BODY_BYTES, MAX_RECORD_BYTES),
        secret=settings.tenant_key,
        country="VN",
        new_id=lambda: "unused",
    )
    envelope = parse_envelope("batch", json.loads(body))
    outcome = intake.decide(envelope, IntakeContext("default", clock.now_ms()))  # type: ignore[arg-type]  # the body is a batch
    assert isinstance(outcome, IntakeOutcome)
    return outcome


async def records_of(bus: MemoryBus, topic: str) -> list[Record]:
    reader = await bus.reader([topic])
    count = sum((await bus.end_offsets(topic)).values())
    records: list[Record] = []
    while len(records) < count:
        for polled in (await reader.poll(1_000, 1_000)).values():
            records += polled
    return records


async def publish(settings: Settings, bus: MemoryBus, outcomes: Sequence[IntakeOutcome]) -> None:
    producer = await bus.producer()
    for outcome in outcomes:
        await producer.send([Outgoing(settings.topic(record.topic), record.value, record.key) for record in outcome.records])


@pytest.mark.timeout(120)
async def test_a_flood_of_names_leaves_a_bounded_profile_and_restarts_nothing(tmp_path: Path) -> None:
    clock = ManualClock(1_760_000_000_000)
    settings = Settings(data_dir=tmp_path, partitions=2)
    bus, store = MemoryBus(clock), MemoryStore(clock)
    await create_topics(settings, bus)
    await definitions_topic.write(settings, bus, load_yaml(SEGMENTS, "test"))
    bodies = flood("KH-7")
    assert len(gzip.compress(bodies[0])) < 100_000
    customer = json.dumps(
        {"batch": [{"type": "identify", "userId": "KH-7", "messageId": "real", "traits": {"name": "Lan", "thành_phố": "Huế"}}]}
    ).encode()
    outcomes = [decided(settings, clock, body) for body in (*bodies, customer)]
    assert not any(outcome.rejections for outcome in outcomes)
    # The block raises if the process ends by itself, as it does for a restart.
    async with run_streams(settings, bus=bus, store=store, clock=clock) as streams:
        await publish(settings, bus, outcomes)
        await streams.wait_until_idle()
    fragments = [decode_fragment(data) async for _, data in store.scan("fragment")]
    assert len(fragments) == 1
    assert len(fragments[0].traits) == MAX_TRAITS + 2
    assert MAX_COUNTERS <= len(fragments[0].counters) <= MAX_COUNTERS + 1
    assert fragments[0].counters["$identify"] == outcomes[0].accepted_by_type["identify"] * len(bodies) + 1
    assert len(fragments[0].identifiers) <= 2 * MAX_IDENTIFIERS
    assert fragments[0].dropped == ("counters", "identifiers", "traits")
    assert max([len(data) async for _, data in store.scan("fragment")]) < 512 * 1024
    assert max([len(data) async for _, data in store.scan("membership")]) < 1024 * 1024
    for topic in ("touched", "profiles", "links", "memberships", "groups"):
        assert max((len(record.value or b"") for record in await records_of(bus, settings.topic(topic))), default=0) < 1024 * 1024
    assert await records_of(bus, settings.topic("quarantine")) == []
    profile = decode(Profile, (await records_of(bus, settings.topic("profiles")))[-1].value)
    assert profile.traits["name"] == "Lan"
    assert profile.segments == ("hue",)
    for kind in fragments[0].dropped:
        assert f'onefold_names_dropped_total{{of="{kind}"}}' in METRICS.exposition().decode()
    names = sum(NAMES_PER_CALL for outcome in outcomes[:-1] for _ in range(outcome.accepted_by_type["identify"]))
    assert abs(profile.dropped_names["traits"] - names) < names * 0.3
